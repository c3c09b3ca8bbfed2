package ingest

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/clock"
	"cairn/internal/dedupe"
	"cairn/internal/journal"
	"cairn/internal/metric"
)

const testProducer = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"

type batchRig struct {
	b     *Batches
	agg   *agg.Aggregator
	clock *clock.Manual
	fs    *vfs.MemFS
	log   *journal.Log
}

func newRig(t testing.TB, p *Parser) *batchRig {
	t.Helper()
	r := &batchRig{clock: clock.NewManual(now.Time()), fs: vfs.NewMem()}
	r.agg = agg.New(agg.Limits{Series: 1000, SeriesPerMetric: 500, Metrics: 100}, []agg.Resolver{p.Resolve, p.Resolve}, rand.New(rand.NewPCG(1, 2)))
	var err error
	r.log, err = journal.Open("j", journal.Options{FS: r.fs, Clock: r.clock, Sync: true})
	require.NoError(t, err)
	r.b = NewBatches(BatchOptions{
		Stripes: []*agg.Stripe{r.agg.Stripe(0), r.agg.Stripe(1)}, Parser: p, Log: r.log, Windows: dedupe.New(r.clock),
		Clock: r.clock, Random: rand.New(rand.NewPCG(3, 4)), Notes: NewAnnotations(),
	})
	t.Cleanup(func() {
		r.b.Close()
		require.NoError(t, r.log.Close())
	})
	return r
}

func lineRequest(body string) *Request {
	return &Request{From: netip.MustParseAddr("127.0.0.1"), Length: len(body), Body: strings.NewReader(body)}
}

// totals are what the stripes hold, as text by series and second.
func totals(a *agg.Aggregator) map[string]string {
	want, wanted := make([]uint32, a.Registry.Len()), make([]agg.Handle, a.Registry.Len())
	for i := range want {
		want[i], wanted[i] = uint32(i)+1, agg.Handle(i)
	}
	sums := map[string]float64{}
	out := map[string]string{}
	buckets := map[string]bucket.Bucket{}
	key := func(i uint32, sec metric.UnixSec) string {
		s := a.Registry.Series(agg.Handle(i))
		return fmt.Sprintf("%s %s {%s} %d", s.Name, s.Kind, s.Tags, sec)
	}
	a.Open(want, wanted, 0, metric.MaxSec, agg.Visitor{
		Sum: func(i uint32, sec metric.UnixSec, sum float64) { sums[key(i, sec)] += sum },
		Bucket: func(i uint32, sec metric.UnixSec, b bucket.Bucket) {
			k := key(i, sec)
			if buckets[k] == nil {
				buckets[k] = bucket.New(a.Registry.Series(agg.Handle(i)).Kind)
			}
			buckets[k].Merge(b)
		},
	})
	for k, v := range sums {
		out[k] = strconv.FormatFloat(v, 'g', -1, 64)
	}
	for k, b := range buckets {
		out[k] = fmt.Sprintf("%x", b.Append(nil, 0))
	}
	return out
}

func mustTake(t require.TestingT, b *Batches, q *Request) Answer {
	a, refusal := b.Ingest(q)
	require.Nil(t, refusal, "%+v", refusal)
	return a
}

func checkCounts(t require.TestingT, b *Batches) BatchCounts {
	c, _ := b.Counts()
	sum := c.Accepted + c.Noted + c.Duplicate
	for _, n := range c.Rejected {
		sum += n
	}
	for _, n := range c.Shed {
		sum += n
	}
	require.Equal(t, c.Received, sum)
	var producers uint64
	b.Producers(func(_ dedupe.Producer, p ProducerCounts) {
		require.Equal(t, p.Received, p.Accepted+p.Noted+p.Rejected+p.Duplicate+p.Shed)
		producers += p.Received
	})
	require.Equal(t, c.Received, producers)
	return c
}

func TestBatchTellsWhichLinesAreWrong(t *testing.T) {
	r := newRig(t, testParser)
	body := "good:1|c\n\nbad:x|c\r\npacked:1:2:3|c\n_e{1,1}:a|b\nheavy:1:1e290|c|@0.5\nnope\ngood:2|c"
	q := lineRequest(body)
	q.Producer, q.Sequence = testProducer, "1"
	a := mustTake(t, r.b, q)
	require.Equal(t, Answer{Accepted: 5, RejectedTotal: 3, Rejected: []RejectedEvent{
		{3, metric.BadValue, "bad:x|c"}, {6, metric.BadValue, "heavy:1:1e290|c|@0.5"}, {7, metric.NoValue, "nope"},
	}}, a)
	c := checkCounts(t, r.b)
	require.EqualValues(t, 9, c.Received)
	require.EqualValues(t, 1, c.Noted)
	require.Len(t, r.b.o.Notes.Since(0), 1)

	q = lineRequest(body)
	q.Producer, q.Sequence = testProducer, "1"
	again := mustTake(t, r.b, q)
	require.True(t, again.Duplicate)
	again.Duplicate = false
	require.Equal(t, a, again)
	require.EqualValues(t, 8, checkCounts(t, r.b).Duplicate)
	require.EqualValues(t, 5, r.agg.Counts().Accepted)
	require.Len(t, r.b.o.Notes.Since(0), 1)
	require.EqualValues(t, 3, Rejects(r.b).Total)

	q = lineRequest("other:1|c")
	q.Producer, q.Sequence = testProducer, "1"
	_, refusal := r.b.Ingest(q)
	require.Equal(t, 409, refusal.Status)
}

func TestBatchOfNothingGoodIsRemembered(t *testing.T) {
	r := newRig(t, testParser)
	for i := range 2 {
		q := lineRequest("a\nb")
		q.Producer, q.Sequence = testProducer, "7"
		a := mustTake(t, r.b, q)
		require.Len(t, a.Rejected, 2)
		require.Equal(t, i == 1, a.Duplicate)
	}
	require.EqualValues(t, 1, r.log.Stats().Appended)
	mustTake(t, r.b, lineRequest("a\nb"))
	require.EqualValues(t, 1, r.log.Stats().Appended, "nothing to remember")
	mustTake(t, r.b, lineRequest("_sc|disk|1"))
	require.EqualValues(t, 2, r.log.Stats().Appended, "what is answered is on the disk")
}

func TestSamplesOfManyRejects(t *testing.T) {
	r := newRig(t, testParser)
	mustTake(t, r.b, lineRequest(strings.Repeat("wrong\n", maxSamples+10)))
	report := Rejects(r.b)
	require.EqualValues(t, maxSamples+10, report.Total)
	for _, s := range report.Reasons[0].Samples {
		require.Equal(t, "wrong", s.Line)
	}
}

func TestConcurrentDuplicatesCountOnce(t *testing.T) {
	r := newRig(t, testParser)
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	for range 32 {
		wg.Go(func() {
			for seq := 1; seq <= 20; seq++ {
				q := lineRequest("a:1|c\nb:2|c")
				q.Producer, q.Sequence = testProducer, strconv.Itoa(seq)
				a, refusal := r.b.Ingest(q)
				if refusal != nil {
					t.Errorf("%+v", refusal)
					return
				}
				mu.Lock()
				if !a.Duplicate {
					fresh++
				}
				mu.Unlock()
			}
		})
	}
	for range 20 {
		r.b.Freeze()()
	}
	wg.Wait()
	require.Equal(t, 20, fresh)
	require.EqualValues(t, 40, r.agg.Counts().Accepted)
	checkCounts(t, r.b)
	require.Zero(t, r.b.Gate().Bytes)
	require.Empty(t, r.b.gate.senders)
}

func TestBatchRefusals(t *testing.T) {
	r := newRig(t, testParser)
	long := strings.Repeat("a", MaxWire+1)
	for _, c := range []struct {
		name   string
		set    func(*Request)
		body   string
		status int
		says   string
	}{
		{"sequence alone", func(q *Request) { q.Sequence = "1" }, "a:1|c", 400, "without a Cairn-Producer"},
		{"producer alone", func(q *Request) { q.Producer = testProducer }, "a:1|c", 400, "without a Cairn-Sequence"},
		{"no UUID", func(q *Request) { q.Producer, q.Sequence = "x", "1" }, "a:1|c", 400, "UUID"},
		{"sequence 0", func(q *Request) { q.Producer, q.Sequence = testProducer, "0" }, "a:1|c", 400, "from 1"},
		{"priority", func(q *Request) { q.Priority = "high" }, "a:1|c", 400, "neither low nor normal"},
		{"encoding", func(q *Request) { q.ContentEncoding = "br" }, "a:1|c", 415, "snappy, gzip, zstd, deflate or identity"},
		{"type", func(q *Request) { q.ContentType = "text/xml" }, "a:1|c", 415, "application/json"},
		{"long", func(*Request) {}, long, 413, "4194304"},
		{"long, chunked", func(q *Request) { q.Length = -1 }, long, 413, "4194304"},
		{"broken off", func(q *Request) { q.Length = 10 }, "a:1|c", 400, "broke off after 5"},
		{"snappy", func(q *Request) { q.ContentEncoding = "snappy" }, "\x05xx", 400, "not snappy"},
		{"gzip", func(q *Request) { q.ContentEncoding = "gzip" }, "nonsense", 400, "gzip"},
		{"zstd", func(q *Request) { q.ContentEncoding = "zstd" }, "nonsense", 400, "zstd"},
		{"deflate", func(q *Request) { q.ContentEncoding = "deflate" }, "nonsense", 400, "deflate"},
		{"JSON", func(q *Request) { q.ContentType = "application/json" }, `{"events":[{"metric":"a",}]}`, 400, "offset 2"},
		{"cut JSON", func(q *Request) { q.ContentType = "application/json" }, `{"events":[{"metric":"a"`, 400, "middle of its JSON"},
		{"another object", func(q *Request) { q.ContentType = "application/json" }, `{"metric":"a"}`, 400, `{"events":[…]}`},
		{"empty object", func(q *Request) { q.ContentType = "application/json" }, `{}`, 400, `must be {"events":[…]}`},
		{"a field more", func(q *Request) { q.ContentType = "application/json" }, `{"events":[],"x":1}`, 400, "beside"},
		{"trailing", func(q *Request) { q.ContentType = "application/json" }, `[] []`, 400, "goes on"},
		{"annotations", func(*Request) {}, strings.Repeat("_sc|a|0\n", maxBatchNotes+1), 413, "10000 events (_e) and service checks"},
		{"all wrong", func(*Request) {}, strings.Repeat("x\n", maxBatchRejects+1), 400, "nothing of it was counted"},
	} {
		q := lineRequest(c.body)
		c.set(q)
		_, refusal := r.b.Ingest(q)
		require.NotNil(t, refusal, c.name)
		require.Equal(t, c.status, refusal.Status, "%s: %s", c.name, refusal.Sentence)
		require.Contains(t, refusal.Sentence, c.says, c.name)
		require.Zero(t, refusal.Wait, c.name)
	}
	require.Zero(t, r.agg.Counts().Accepted)
	require.Zero(t, r.b.Gate().Bytes)
	checkCounts(t, r.b)
}

func packed(t testing.TB, how string, body []byte) []byte {
	var z bytes.Buffer
	write := func(w io.WriteCloser) []byte {
		_, err := w.Write(body)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return z.Bytes()
	}
	switch how {
	case "snappy":
		return snappy.Encode(nil, body)
	case "framed":
		return write(snappy.NewBufferedWriter(&z))
	case "gzip":
		return write(gzip.NewWriter(&z))
	case "zlib":
		return write(zlib.NewWriter(&z))
	case "raw":
		w, err := flate.NewWriter(&z, flate.BestSpeed)
		require.NoError(t, err)
		return write(w)
	case "zstd":
		w, err := zstd.NewWriter(&z)
		require.NoError(t, err)
		return write(w)
	case "zstd sized":
		w, err := zstd.NewWriter(nil)
		require.NoError(t, err)
		return w.EncodeAll(body, nil)
	}
	return body
}

var encodingOf = map[string]string{"snappy": "snappy", "framed": "snappy", "gzip": "gzip", "zlib": "deflate", "raw": "deflate", "zstd": "zstd", "zstd sized": "zstd", "identity": ""}

func TestEncodings(t *testing.T) {
	r := newRig(t, testParser)
	body := strings.Repeat("a:1|c|#env:prod\n", 10_000)
	bomb := bytes.Repeat([]byte{'a'}, MaxDecoded+1)
	for how, encoding := range encodingOf {
		before := r.agg.Counts().Accepted
		wire := packed(t, how, []byte(body))
		q := &Request{ContentEncoding: encoding, Length: len(wire), Body: bytes.NewReader(wire)}
		require.EqualValues(t, 10_000, mustTake(t, r.b, q).Accepted, how)
		require.EqualValues(t, 10_000, r.agg.Counts().Accepted-before)
		if how == "identity" {
			continue
		}
		wire = packed(t, how, bomb)
		_, refusal := r.b.Ingest(&Request{ContentEncoding: encoding, Length: len(wire), Body: bytes.NewReader(wire)})
		require.NotNil(t, refusal, how)
		require.Equal(t, 413, refusal.Status, "%s: %s", how, refusal.Sentence)
		wire = packed(t, how, []byte(body))
		_, refusal = r.b.Ingest(&Request{ContentEncoding: encoding, Length: len(wire) - 3, Body: bytes.NewReader(wire[:len(wire)-3])})
		require.NotNil(t, refusal, how)
		require.Equal(t, 400, refusal.Status, "%s: %s", how, refusal.Sentence)
	}
	require.Zero(t, r.b.Gate().Bytes)
}

func TestJournalErrorsApplyNothing(t *testing.T) {
	r := newRig(t, testParser)
	require.NoError(t, r.log.Close())
	q := lineRequest("a:1|c\nb")
	q.Producer, q.Sequence = testProducer, "1"
	_, refusal := r.b.Ingest(q)
	require.Equal(t, 503, refusal.Status)
	require.NotZero(t, refusal.Wait)
	require.Zero(t, r.agg.Counts().Accepted)
	require.EqualValues(t, 2, checkCounts(t, r.b).Shed[refusal.Shed])
	require.Equal(t, dedupe.Fresh, r.b.o.Windows.Begin(dedupe.Producer{1}, 1, 0).Status)
	p, err := dedupe.ParseProducer(testProducer)
	require.NoError(t, err)
	require.Equal(t, dedupe.Fresh, r.b.o.Windows.Begin(p, 1, 0).Status, "it may come again")
}

func TestUnavailableAndBusy(t *testing.T) {
	r := newRig(t, testParser)
	sentence := "replaying"
	r.b.o.Unavailable = func() (string, time.Duration) { return sentence, 20 * time.Second }
	_, refusal := r.b.Ingest(lineRequest("a:1|c"))
	require.Equal(t, 503, refusal.Status)
	require.InDelta(t, 25, refusal.Wait, 5)
	sentence = ""
	p, err := dedupe.ParseProducer(testProducer)
	require.NoError(t, err)
	require.Equal(t, dedupe.Fresh, r.b.o.Windows.Begin(p, 1, 0).Status)
	r.b.busy = time.Millisecond
	q := lineRequest("a:1|c")
	q.Producer, q.Sequence = testProducer, "1"
	_, refusal = r.b.Ingest(q)
	require.Equal(t, ShedBusy, refusal.Shed)
}

// TestReplayIsWhatWasApplied takes random batches with wrong lines, and replays their
// records, with a filter, into stripes with other settings.
func TestReplayIsWhatWasApplied(t *testing.T) {
	lines := []string{
		"a:1|c", "a:2:3|c|@0.3", "b,k=v:1|c", "b:1|c|#x:1,y", "g:5|g", "d:1:2|ms|@0.5", "s:joe|s", "bad", "bad:x|c", "", "C:1|C",
		fmt.Sprintf("a:1|c|T%d", now-5), fmt.Sprintf("a:1|c|T%d|#k:v", now-3), fmt.Sprintf("g:7|g|T%d", now-4), "o:1|c|c:id|e:x", "a:1e290:1|c|@0.5",
		"_e{1,1}:t|x", "_sc|n|9", "n\x01:1|c", "a:1|\x00\x01", "d:1|ms|T1700000000",
		`{"metric":"a"}`, "long.name.of.a.metric:1|c|#with:a,long:list,of:tags",
	}
	events := []string{
		`{"metric":"a","value":1}`, `{"metric":"a","values":[1,2],"rate":0.3}`, `{"metric":"g","kind":"gauge","value":-3}`, `{"metric":"d","kind":"distribution","values":[1,2],"time":` + strconv.Itoa(int(now)-3) + `}`,
		`{"metric":"s","kind":"set","value":"joe"}`, `{"metric":"a","tags":{"k":["v","w"],"n":1},"value":4}`, `{"metric":"x"}`, `7`, `{"metric":"a","value":1,"time":` + strconv.Itoa(int(now)-2) + `}`,
	}
	// No line changes a gauge's level: what that starts from is not in the record.
	rapid.Check(t, func(rt *rapid.T) {
		p := &Parser{Dialect: rapid.SampledFrom([]Dialect{DogStatsD, Etsy, Brubeck}).Draw(rt, "dialect"), Limits: metric.DefaultLineLimits, OriginTags: rapid.Bool().Draw(rt, "origin")}
		r := newRig(t, p)
		for range rapid.IntRange(1, 5).Draw(rt, "batches") {
			var q *Request
			if rapid.Bool().Draw(rt, "json") {
				q = lineRequest("[" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(events), 1, 20).Draw(rt, "events"), ",") + "]")
				q.ContentType = "application/json"
			} else {
				q = lineRequest(strings.Join(rapid.SliceOfN(rapid.SampledFrom(lines), 1, 20).Draw(rt, "lines"), "\n"))
				if rapid.Bool().Draw(rt, "snappy") {
					body, err := io.ReadAll(q.Body)
					require.NoError(rt, err)
					wire := snappy.Encode(nil, body)
					q.ContentEncoding, q.Body, q.Length = "snappy", bytes.NewReader(wire), len(wire)
				}
			}
			mustTake(rt, r.b, q)
			r.clock.Advance(time.Duration(rapid.IntRange(0, 1500).Draw(rt, "ms")) * time.Millisecond)
		}
		checkCounts(rt, r.b)
		from := now - metric.UnixSec(rapid.IntRange(-2, 6).Draw(rt, "from"))
		want := totals(r.agg)
		for k := range want {
			sec, err := strconv.Atoi(k[strings.LastIndexByte(k, ' ')+1:])
			require.NoError(rt, err)
			if metric.UnixSec(sec) < from {
				delete(want, k)
			}
		}
		other := &Parser{Dialect: rapid.SampledFrom([]Dialect{p.Dialect, DogStatsD, Etsy}).Draw(rt, "other dialect"), Limits: metric.LineLimits{Line: 30, Name: 8, Tag: 6, Tags: 1}, OriginTags: p.OriginTags != rapid.Bool().Draw(rt, "other origin")}
		b := agg.New(agg.Limits{Series: 1000, SeriesPerMetric: 500, Metrics: 100}, []agg.Resolver{other.Resolve}, rand.New(rand.NewPCG(1, 2)))
		replayer := NewReplayer(other)
		require.NoError(rt, r.log.Read(0, r.log.End(), func(_ journal.Pos, j *journal.Record) error {
			rec, err := DecodeRecord(j)
			require.NoError(rt, err)
			out, err := replayer.Replay(&rec, b.Stripe(0), func(sec metric.UnixSec) bool { return sec >= from }, nil)
			require.NoError(rt, err)
			require.Zero(rt, out.Refused, out.Reason)
			require.Equal(rt, int(rec.Verdict.Accepted), out.Applied+out.Left)
			require.LessOrEqual(rt, j.Last, metric.UnixSec(r.clock.Now().Unix()))
			return nil
		}))
		require.Equal(rt, want, totals(b))
	})
}

// stalled is a body of which nothing comes after the first bytes until it is let go.
type stalled struct {
	first io.Reader
	began chan<- struct{}
	end   <-chan struct{}
}

func (s *stalled) Read(b []byte) (int, error) {
	if n, err := s.first.Read(b); err == nil {
		return n, nil
	}
	s.began <- struct{}{}
	<-s.end
	return 0, os.ErrDeadlineExceeded
}

func TestSlowBodiesHoldWhatTheySent(t *testing.T) {
	r := newRig(t, testParser)
	const n = 200 // would be 800 MiB by what they announce
	began, end := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		q := &Request{Length: []int{MaxWire, -1}[i%2], Body: &stalled{strings.NewReader("a:1|c\n"), began, end}}
		q.Producer, q.Sequence = fmt.Sprintf("6ba7b810-9dad-41d1-80b4-%012x", i), "1"
		wg.Go(func() {
			_, refusal := r.b.Ingest(q)
			require.Equal(t, statusSlow, refusal.Status)
		})
	}
	for range n {
		<-began
	}
	held := r.b.Gate()
	_, refusal := r.b.Ingest(lineRequest("a:1|c"))
	close(end)
	wg.Wait()
	require.Nil(t, refusal)
	require.Equal(t, n, held.Batches)
	require.LessOrEqual(t, held.Bytes, n*(firstRead+1))
	require.Zero(t, r.b.Gate().Bytes)
	require.Empty(t, r.b.gate.senders)
	// One that has sent much holds it.
	end = make(chan struct{})
	wg.Go(func() {
		_, refusal := r.b.Ingest(&Request{Length: MaxWire, Body: &stalled{strings.NewReader(strings.Repeat("\n", MaxWire/2)), began, end}})
		require.Equal(t, statusSlow, refusal.Status)
	})
	<-began
	held = r.b.Gate()
	close(end)
	wg.Wait()
	require.GreaterOrEqual(t, held.Bytes, MaxWire/2)
	// What is longer than that is read as well.
	for _, length := range []int{firstRead - 1, firstRead, firstRead + 1, MaxWire - 1, MaxWire} {
		body := strings.Repeat("\n", length-5) + "a:1|c"
		for _, q := range []*Request{lineRequest(body), {Length: -1, Body: strings.NewReader(body)}} {
			require.EqualValues(t, 1, mustTake(t, r.b, q).Accepted)
			require.Zero(t, r.b.Gate().Bytes)
		}
	}
}
