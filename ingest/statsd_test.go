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

// counted is what one line of mustCount adds: series as `name tags`, and values
// after weighting.
type counted struct {
	line   string
	series string
	sum    float64
	events int
	sec    metric.UnixSec
}

var mustCount = []counted{
	{"a:1|c", "a ", 1, 1, 0},
	{"a:1|c\r", "a ", 1, 1, 0},
	{"a.b_c-d:12|c", "a.b_c-d ", 12, 1, 0},
	{"a:1.5|c", "a ", 1.5, 1, 0},
	{"a:-2|c", "a ", -2, 1, 0},
	{"a:+2|c", "a ", 2, 1, 0},
	{"a:0|c", "a ", 0, 1, 0},
	{"a:1e3|c", "a ", 1000, 1, 0},
	{"a:.5|c", "a ", 0.5, 1, 0},
	{"a:5.|c", "a ", 5, 1, 0},
	{"a:0.1|c", "a ", 0.1, 1, 0},
	{"a:9007199254740993|c", "a ", 9007199254740992, 1, 0},
	{"a:123456789012345.678|c", "a ", 123456789012345.678, 1, 0},
	{"a:1:2:3|c", "a ", 6, 3, 0},
	{"a:1|c|@0.1", "a ", 10, 1, 0},
	{"a:3|c|@0.3", "a ", 10, 1, 0},
	{"a:1|c|@1", "a ", 1, 1, 0},
	{"a:1|c|@0.000001", "a ", 1000000, 1, 0},
	{"a:1|c|@1e-2", "a ", 100, 1, 0},
	{"a:1|c|#env:prod", "a env:prod", 1, 1, 0},
	{"a:1|c|@0.5|#b:2,a:1", "a a:1,b:2", 2, 1, 0},
	{"a:1|c|#b:2,a:1|@0.5", "a a:1,b:2", 2, 1, 0},
	{"a:1|c|#a:1,a:1,a:2", "a a:1,a:2", 1, 1, 0},
	{"a:1|c|#canary", "a canary", 1, 1, 0},
	{"a:1|c|#canary:", "a canary", 1, 1, 0},
	{"a:1|c|#a:1,#b:2", "a a:1,b:2", 1, 1, 0},
	{"a:1|c|#a:1|#b:2", "a a:1,b:2", 1, 1, 0},
	{"a:1|c|#t:a:b", "a t:a:b", 1, 1, 0},
	{"a:1|c|#", "a ", 1, 1, 0},
	{"a:1|c|#,,x:1,", "a x:1", 1, 1, 0},
	{"a:1|c|T1699999990", "a ", 1, 1, 1_699_999_990},
	{"a:1|c|#x:1|T1699999990", "a x:1", 1, 1, 1_699_999_990},
	{"a:1|c|T1699999990|#x:1", "a x:1", 1, 1, 1_699_999_990},
	{"a:1|c|T1700000010", "a ", 1, 1, 1_700_000_010},
	{"a:1|c|#host:T1699999990", "a host:T1699999990", 1, 1, 0},
	{"a:1|c|#x:1|c:abc123|e:it-false|card:low|zz", "a x:1", 1, 1, 0},
	{"a:1|c||#x:1|", "a x:1", 1, 1, 0},
	{"a/b c:1|c", "a-b_c ", 1, 1, 0},
	{"größe.é:1|c|#ort:Köln", "größe.é ort:Köln", 1, 1, 0},
}

var mustReject = map[string]metric.Reason{
	"a":                             metric.NoValue,
	"a|c":                           metric.NoValue,
	"a:|c":                          metric.NoValue,
	"a::1|c":                        metric.NoValue,
	"a:1::2|c":                      metric.NoValue,
	"a:1":                           metric.NoType,
	"a:1|":                          metric.NoType,
	"a:1||#x":                       metric.NoType,
	":1|c":                          metric.EmptyName,
	"a\x01:1|c":                     metric.BadName,
	"a\xff:1|c":                     metric.BadUTF8,
	"a:1|c|#k:\xff":                 metric.BadUTF8,
	"a:x|c":                         metric.BadValue,
	"a:1 |c":                        metric.BadValue,
	"a: 1|c":                        metric.BadValue,
	"a:NaN|c":                       metric.BadValue,
	"a:inf|c":                       metric.BadValue,
	"a:-Infinity|c":                 metric.BadValue,
	"a:0x10|c":                      metric.BadValue,
	"a:1_000|c":                     metric.BadValue,
	"a:1e400|c":                     metric.BadValue,
	"a:1e300|c":                     metric.BadValue,
	"a:-|c":                         metric.BadValue,
	"a:.|c":                         metric.BadValue,
	"a:1.2.3|c":                     metric.BadValue,
	"a:--1|c":                       metric.BadValue,
	"a:1:x|c":                       metric.BadValue,
	"a:1|q":                         metric.BadType,
	"a:1|C":                         metric.BadType,
	"a:1|cc":                        metric.BadType,
	"a:1|g":                         metric.UnsupportedKind,
	"a:1|ms":                        metric.UnsupportedKind,
	"a:1|h|#x":                      metric.UnsupportedKind,
	"a:1|d":                         metric.UnsupportedKind,
	"a:1|s":                         metric.UnsupportedKind,
	"_e{1,1}:a|b":                   metric.UnsupportedKind,
	"_sc|a|0":                       metric.UnsupportedKind,
	"a:1|c|@0":                      metric.BadRate,
	"a:1|c|@-1":                     metric.BadRate,
	"a:1|c|@1.1":                    metric.BadRate,
	"a:1|c|@x":                      metric.BadRate,
	"a:1|c|@":                       metric.BadRate,
	"a:1|c|@NaN":                    metric.BadRate,
	"a:1|c|@0.1|@0.1":               metric.BadRate,
	"a:1|c|T0":                      metric.BadTimestamp,
	"a:1|c|T-5|#x":                  metric.BadTimestamp,
	"a:1|c|Tx":                      metric.BadTimestamp,
	"a:1|c|T":                       metric.BadTimestamp,
	"a:1|c|T1700000000|T1700000001": metric.BadTimestamp,
	"a:1|c|T5|T1700000000":          metric.TooOld,
	"a:1|c|T1700000011":             metric.Future,
	"a:1|c|T1700000000000":          metric.Future,
	"a:1|c|T1":                      metric.TooOld,
	"a:1|c|#:x":                     metric.BadTag,
	"a:1|c|#a:\x02":                 metric.BadTag,
	"a:1|c|#" + long(256):           metric.TagTooLong,
	long(256) + ":1|c":              metric.NameTooLong,
	"a:1|c|#" + long(4096):          metric.LineTooLong,
	"a:1|c|#" + manyTags(65):        metric.TooManyTags,
	"a:1|c|T" + long(20):            metric.BadTimestamp,
}

func long(n int) string { return strings.Repeat("x", n) }

func manyTags(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "t%d,", i)
	}
	return b.String()
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

func TestLinesThatCount(t *testing.T) {
	for _, c := range mustCount {
		// Twice: the first one resolves the key, the second finds it.
		got := feed(t, c.line, c.line)
		sec := c.sec
		if sec == 0 {
			sec = now
		}
		require.Equal(t, map[string]float64{fmt.Sprintf("%s @%d", c.series, sec): 2 * c.sum}, got.sums, "%q", c.line)
		require.EqualValues(t, 2*c.events, got.counts.Accepted, "%q", c.line)
		require.Equal(t, got.counts.Accepted, got.counts.Received, "%q", c.line)
	}
}

func TestLinesThatDoNot(t *testing.T) {
	for line, reason := range mustReject {
		got := feed(t, line, line)
		require.Empty(t, got.sums, "%q", line)
		require.EqualValues(t, 2, got.counts.Received, "%q", line)
		for r, n := range got.counts.Rejected {
			want := uint64(0)
			if metric.Reason(r) == reason {
				want = 2
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
	for _, c := range mustCount {
		f.Add([]byte(c.line))
	}
	for line := range mustReject {
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
		for k, v := range whole.sums {
			require.InEpsilon(t, 1+math.Abs(v), 1+math.Abs(split.sums[k]), 1e-9)
		}
		require.Len(t, split.sums, len(whole.sums))
	})
}

func total(c Counts) uint64 {
	n := c.Accepted
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
