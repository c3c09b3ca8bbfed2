package ingest

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/agg"
	"cairn/internal/metric"
)

var testParser = &Parser{Limits: metric.DefaultLineLimits}

const now = metric.UnixSec(1_700_000_000)

// dialects holds a parser of each.
var dialects = [numDialects]*Parser{
	DogStatsD: testParser,
	Etsy:      {Dialect: Etsy, Limits: metric.DefaultLineLimits},
	Brubeck:   {Dialect: Brubeck, Limits: metric.DefaultLineLimits},
}

// read is what p makes of one line, by way of the code that is fast: split in
// one pass or in several, then Resolve, then what a stripe does with both.
func read(p *Parser, line string) ([]event, metric.Reason) {
	buf := []byte("before\n" + line + "\nafter")
	raws, ignored, reason := make([]agg.Raw, 1), false, metric.OK
	if _, ok := p.splitPlain(&raws[0], buf, 7, len(buf)); !ok {
		if raws, ignored, reason = p.split(nil, buf, 7, 7+len(line), now); reason != metric.OK {
			return nil, reason
		}
	}
	var out []event
	for _, r := range raws {
		res, reason := p.Resolve(buf[r.Name:r.Name+uint32(r.NameLen)], buf[r.Rest:r.Rest+uint32(r.RestLen)], now)
		if reason != metric.OK {
			return nil, reason
		}
		e := event{series: res.Series, op: r.Op, sec: max(r.Sec, res.Sec), ignored: ignored || res.TimeIgnored}
		if res.Series.Kind == metric.Set {
			e.bits = r.Bits
		} else if e.value = res.Weight.Of(math.Float64frombits(r.Bits)); !(math.Abs(e.value) <= metric.MaxValue) {
			return nil, metric.BadValue
		}
		if res.Series.Kind != metric.Gauge {
			e.op = agg.Reading // it means nothing
		}
		out = append(out, e)
	}
	return out, metric.OK
}

func TestEachDialectReadsTheCorpus(t *testing.T) {
	for d, p := range dialects {
		for _, c := range mustCount {
			got, reason := read(p, c.line)
			require.Equal(t, metric.OK, reason, "%s: %q", Dialect(d), c.line)
			require.Equal(t, c.want, got, "%s: %q", Dialect(d), c.line)
		}
		for _, c := range mustDiffer {
			got, reason := read(p, c.line)
			require.Equal(t, c.dialect[d], got, "%s: %q", Dialect(d), c.line)
			if c.dialect[d] == nil {
				require.Equal(t, metric.BadType, reason, "%s: %q", Dialect(d), c.line)
			}
		}
		for line, want := range mustReject {
			if isAnnotation([]byte(line)) {
				continue
			}
			_, reason := read(p, line)
			require.Equal(t, want, reason, "%s: %q is %s, not %s", Dialect(d), line, reason, want)
		}
	}
}

func TestOriginTags(t *testing.T) {
	p := &Parser{Limits: metric.DefaultLineLimits, OriginTags: true}
	for line, tags := range map[string]string{
		"a:1|c|c:ci-1:2|#x:1":                "container_id:ci-1:2,x:1",
		"a:1|c|e:it-false|card:low|c:in-7":   "container_id:in-7,external_data:it-false,cardinality:low",
		"a,k=v:1|c|card:low":                 "k:v,cardinality:low",
		"a:1|c|card:low|c:|e:|zz:1|carding:": "cardinality:low",
	} {
		got, reason := read(p, line)
		require.Equal(t, metric.OK, reason, line)
		require.Equal(t, []event{count("a", 1).tags(tags)}, got, line)
	}
	for line, want := range map[string]metric.Reason{
		"a:1|c|c:" + long(243):              metric.TagTooLong, // with container_id: before it
		"a:1|c|c:\xff":                      metric.BadUTF8,
		"a:1|c|e:\x01":                      metric.BadTag,
		"a:1|c|c:x|#" + manyTags(64):        metric.TooManyTags,
		"a:1|c|#" + manyTags(64) + "|c:abc": metric.TooManyTags,
	} {
		_, reason := read(p, line)
		require.Equal(t, want, reason, line)
	}
	_, reason := read(p, "a:1|c|c:"+long(242))
	require.Equal(t, metric.OK, reason)
}

// newTestFeeder returns a feeder of a stripe of its own.
func newTestFeeder(p *Parser) *Feeder {
	a := agg.New(agg.Limits{Series: 1 << 16, SeriesPerMetric: 1 << 16, Metrics: 1 << 16}, []agg.Resolver{p.Resolve}, rngOf(1))
	return NewFeeder(a.Stripe(0), p)
}

// fed is what a Feeder made of some bytes.
type fed struct {
	counts  Counts
	samples Samples
	sums    map[string]float64 // by `name tags @second`
}

func feed(t testing.TB, packets ...string) fed {
	t.Helper()
	a := agg.New(agg.Limits{Series: 1 << 16, SeriesPerMetric: 1 << 16, Metrics: 1 << 16}, []agg.Resolver{testParser.Resolve}, rngOf(1))
	f := NewFeeder(a.Stripe(0), testParser)
	for _, p := range packets {
		f.Feed([]byte(p), 0, len(p), now.Milli(), false)
		f.Flush([]byte(p), now.Milli())
	}
	out := fed{sums: map[string]float64{}}
	out.counts, out.samples = f.Counts()
	a.Spill(metric.MaxSec)
	require.NoError(t, a.Detach(metric.MaxSec).Counters(func(h agg.Handle, sums []metric.Sum) error {
		s := a.Registry.Series(h)
		for _, sum := range sums {
			out.sums[fmt.Sprintf("%s %s @%d", s.Name, s.Tags, sum.Sec)] += sum.Value
		}
		return nil
	}))
	return out
}

// TestLinesThatCount feeds each line twice: the first one resolves the key, the
// second finds it.
func TestLinesThatCount(t *testing.T) {
	for _, c := range mustCount {
		got := feed(t, c.line, c.line)
		require.EqualValues(t, 2*len(c.want), got.counts.Accepted, "%q", c.line)
		require.Equal(t, got.counts.Accepted, got.counts.Received, "%q", c.line)
		want, counters := map[string]float64{}, true
		for _, e := range c.want {
			counters = counters && e.series.Kind == metric.Counter
			if e.sec == 0 {
				e.sec = now
			}
			want[fmt.Sprintf("%s %s @%d", e.series.Name, e.series.Tags, e.sec)] += 2 * e.value
		}
		if counters {
			require.Equal(t, want, got.sums, "%q", c.line)
		}
	}
}

func TestLinesThatDoNot(t *testing.T) {
	for line, reason := range mustReject {
		got := feed(t, line, line)
		require.Empty(t, got.sums, "%q", line)
		events := got.counts.Received // of a line that splits: its values
		require.True(t, events == 2 || strings.Contains(line, ":1:"), "%q", line)
		for r, n := range got.counts.Rejected {
			want := uint64(0)
			if metric.Reason(r) == reason {
				want = events
			}
			require.Equal(t, want, n, "%q under %s; it belongs under %s", line, metric.Reason(r), reason)
		}
		require.Equal(t, line[:min(len(line), maxSample)], got.samples[reason])
	}
}

// TestNeighboursAreUnharmed puts a good line on either side of every bad one, in
// one packet, with each kind of line end.
func TestNeighboursAreUnharmed(t *testing.T) {
	for line := range mustReject {
		for _, eol := range []string{"\n", "\r\n", "\n\n", "\r\n\r\n"} {
			for _, end := range []string{"", eol} {
				got := feed(t, "before:1|c"+eol+line+eol+"after:2|c"+end)
				require.Equal(t, map[string]float64{
					fmt.Sprintf("before  @%d", now): 1, fmt.Sprintf("after  @%d", now): 2,
				}, got.sums, "%q", line)
				require.EqualValues(t, 3, got.counts.Received)
			}
		}
	}
}

func TestBlankPacketsAreFree(t *testing.T) {
	require.Zero(t, feed(t, "", "\n", "\r\n\n").counts.Received)
}

func TestTruncatedLineIsNotCounted(t *testing.T) {
	a := agg.New(agg.Limits{Series: 9, SeriesPerMetric: 9, Metrics: 9}, []agg.Resolver{testParser.Resolve}, rngOf(1))
	f := NewFeeder(a.Stripe(0), testParser)
	p := []byte("a:1|c\nb:1000|c")
	f.Feed(p, 0, len(p)-3, now.Milli(), true)
	f.Flush(p, now.Milli())
	c, _ := f.Counts()
	require.EqualValues(t, 1, c.Accepted)
	require.EqualValues(t, 1, c.Rejected[metric.Truncated])
}

func TestNumberAgreesWithStrconv(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[+-]?[0-9]{0,18}(\.[0-9]{0,18})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		want, err := strconv.ParseFloat(s, 64)
		got, ok := number([]byte(s))
		require.Equal(t, err == nil, ok, "%q", s)
		if ok {
			require.Equal(t, want, got, "%q", s)
		}
	})
}

func TestRateIsAFraction(t *testing.T) {
	for places := 1; places <= 6; places++ {
		for n := 1.0; n <= math.Pow10(places); n += math.Ceil(math.Pow10(places) / 997) {
			s := strconv.FormatFloat(n/math.Pow10(places), 'f', -1, 64)
			num, den, ok := rateWeight([]byte(s))
			require.True(t, ok, s)
			require.Equal(t, n*num, den*math.Pow10(places), "n events at rate n/10^p stand for 10^p: %s is %g/%g", s, num, den)
		}
	}
}

// FuzzLine feeds any bytes: nothing panics, every line is accounted for once,
// and the lines of a packet do not depend on one another.
func FuzzLine(f *testing.F) {
	for _, line := range corpus() {
		f.Add([]byte(line))
	}
	f.Add([]byte("a:1|c\nb:2|c\r\n\n_e{1,1}:x|y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole := feed(t, string(b))
		require.Equal(t, whole.counts.Received, total(whole.counts))
		apart := bytes.Split(b, []byte{'\n'})
		packets := make([]string, len(apart))
		for i := range apart {
			packets[i] = string(apart[i])
		}
		split := feed(t, packets...)
		require.Equal(t, whole.counts.Received, split.counts.Received)
		require.Equal(t, whole.counts.Rejected, split.counts.Rejected)
		require.Equal(t, whole.counts.Noted, split.counts.Noted)
		require.Equal(t, whole.counts.TimeIgnored, split.counts.TimeIgnored)
		for k, v := range whole.sums {
			require.InEpsilon(t, 1+math.Abs(v), 1+math.Abs(split.sums[k]), 1e-9)
		}
		require.Len(t, split.sums, len(whole.sums))
	})
}

func total(c Counts) uint64 {
	n := c.Accepted + c.Noted
	for _, r := range c.Rejected {
		n += r
	}
	return n
}

func BenchmarkFeed(b *testing.B) {
	for _, c := range []struct {
		name   string
		series int
		tags   bool
	}{{"series=1000", 1000, false}, {"series=10000,tags", 10_000, true}, {"series=1000000,tags", 1_000_000, true}} {
		b.Run(c.name, func(b *testing.B) {
			a := agg.New(agg.Limits{Series: 1 << 21, SeriesPerMetric: 1 << 21, Metrics: 1 << 21}, []agg.Resolver{testParser.Resolve}, rngOf(1))
			f := NewFeeder(a.Stripe(0), testParser)
			packets, lines := benchPackets(c.series, c.tags)
			one := func(p []byte) { f.Feed(p, 0, len(p), now.Milli(), false); f.Flush(p, now.Milli()) }
			for _, p := range packets {
				one(p)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n, i := 0, 0; n < b.N; i++ {
				one(packets[i%len(packets)])
				n += lines
			}
		})
	}
}

// benchPackets makes packets of 1,432 bytes at most, all with the same number of
// lines, that hold every series in random order.
func benchPackets(series int, tags bool) (packets [][]byte, lines int) {
	lines = 20
	order := rngOf(7).Perm(series)
	for i := 0; i+lines <= len(order); i += lines {
		var p []byte
		for _, n := range order[i : i+lines] {
			p = fmt.Appendf(p, "api.requests.count_%04d:1|c", n%1000)
			if tags {
				p = fmt.Appendf(p, "|#env:prod,region:us-east-1,host:web-%03d", n/1000)
			}
			p = append(p, '\n')
		}
		packets = append(packets, p)
	}
	return packets, lines
}

// TestNothingIsAllocated feeds lines of every kind whose keys are known.
func TestNothingIsAllocated(t *testing.T) {
	p := []byte(strings.Join([]string{
		"c:1|c|#x:1", "c:1.5|c|@0.1", "c:1|c|T1700000000", "g:-5|g|#x:1", "m:12.5:3|ms|@0.5", "s:alice:1|s",
		"n,k=v:1|c", "x:1|c:2|ms|@0.5:a|s", "n;k=v:1|c:2|c", "größe x:1|h", "x:1|ms|T1700000000",
	}, "\n"))
	f := newTestFeeder(testParser)
	one := func() {
		f.Feed(p, 0, len(p), now.Milli(), false)
		f.Flush(p, now.Milli())
	}
	one()
	require.Zero(t, testing.AllocsPerRun(100, one))
	c, _ := f.Counts()
	require.EqualValues(t, c.Received, total(c))
	require.EqualValues(t, 15*c.Packets, c.Accepted)
}
