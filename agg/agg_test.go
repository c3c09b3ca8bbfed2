package agg

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testResolve reads "type|tag" as rest: "c", "c|a", "c@2|a" (weight 2); "g", "d",
// "d@10/3", "s".
func testResolve(name, rest []byte, _ metric.UnixSec) (Resolution, metric.Reason) {
	kind, tag, _ := strings.Cut(string(rest), "|")
	w, k := Weight{1, 1}, metric.Counter
	switch kind {
	case "c":
	case "g":
		k = metric.Gauge
	case "d":
		k = metric.Distribution
	case "d@10/3":
		k, w = metric.Distribution, Weight{10, 3}
	case "d ignored":
		return Resolution{Series: metric.Series{ID: metric.ID{Name: string(name), Kind: metric.Distribution}}, Weight: w, TimeIgnored: true}, metric.OK
	case "s":
		k = metric.Set
	case "c@2":
		w.Num = 2
	case "c@10/3":
		w = Weight{10, 3}
	default:
		return Resolution{}, metric.BadType
	}
	s := metric.Series{ID: metric.ID{Name: string(name), Kind: k}}
	if tag != "" {
		// "x" and "x " are two spellings of one series.
		s.Tags = metric.NewTagset([]metric.Tag{{Key: strings.TrimSpace(tag)}})
	}
	return Resolution{Series: s, Weight: w}, metric.OK
}

func newTest(stripes int, l Limits) *Aggregator {
	return New(l, slices.Repeat([]Resolver{testResolve}, stripes), rand.New(rand.NewPCG(1, 2)))
}

var roomy = Limits{Series: 1 << 20, SeriesPerMetric: 1 << 20, Metrics: 1 << 20}

// event makes a Raw and appends its bytes to buf.
func event(buf []byte, name, rest string, v float64, sec metric.UnixSec) ([]byte, Raw) {
	e := Raw{Bits: math.Float64bits(v), Sec: sec, Name: uint32(len(buf)), NameLen: uint16(len(name))}
	buf = append(buf, name...)
	e.Rest, e.RestLen = uint32(len(buf)), uint16(len(rest))
	return append(buf, rest...), e
}

func add(s *Stripe, name, rest string, v float64, sec, now metric.UnixSec) metric.Reason {
	buf, e := event(nil, name, rest, v, sec)
	events := []Raw{e}
	s.Lock()
	defer s.Unlock()
	s.Add(buf, events, now.Milli())
	return events[0].Reason
}

type place struct {
	series metric.Series
	sec    metric.UnixSec
}

// collect reads everything: what is open and what was detached.
func collect(a *Aggregator, detached ...*Sealed) map[place]float64 {
	out := map[place]float64{}
	n := a.Registry.Len()
	want, all := make([]uint32, n), make([]Handle, n)
	for h := range n {
		want[h], all[h] = uint32(h+1), Handle(h)
	}
	see := func(i uint32, sec metric.UnixSec, sum float64) {
		out[place{a.Registry.Series(Handle(i)), sec}] += sum
	}
	v := Visitor{Sum: see, Bucket: func(uint32, metric.UnixSec, bucket.Bucket) {}}
	a.Open(want, all, 0, metric.MaxSec, v)
	for _, d := range detached {
		d.Read(want, all, 0, metric.MaxSec, v)
	}
	return out
}

// TestAgainstMap runs random events, spills and detachments against a map.
func TestAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newTest(2, roomy)
		oracle, flushed := map[place]float64{}, map[place]float64{}
		var events uint64
		var sealed []*Sealed
		now := metric.UnixSec(1000)
		stamps := rapid.SampledFrom([]int{0, 4}).Draw(t, "one in n is stamped; 0: none")
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				stripe := a.Stripe(rapid.IntRange(0, 1).Draw(t, "stripe"))
				var buf []byte
				var batch []Raw
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					name := fmt.Sprintf("m%d", rapid.IntRange(0, 3).Draw(t, "name"))
					rest := rapid.SampledFrom([]string{"c", "c|x", "c|x ", "c|y", "c@2|x"}).Draw(t, "rest")
					v := float64(rapid.IntRange(-3, 1000).Draw(t, "v"))
					sec := metric.UnixSec(0)
					if stamps > 0 && rapid.IntRange(1, stamps).Draw(t, "stamped") == 1 {
						sec = now + metric.UnixSec(rapid.IntRange(-30, 10).Draw(t, "offset"))
					}
					var e Raw
					buf, e = event(buf, name, rest, v, sec)
					batch = append(batch, e)
					r, _ := testResolve([]byte(name), []byte(rest), now)
					if sec == 0 {
						sec = now
					}
					oracle[place{r.Series, sec}] += r.Weight.Of(v)
				}
				stripe.Lock()
				require.Equal(t, len(batch), stripe.Add(buf, batch, now.Milli()))
				stripe.Unlock()
				events += uint64(len(batch))
			},
			"pack": func(t *rapid.T) {
				a.minPack = rapid.IntRange(1, 4).Draw(t, "least")
				a.Pack(now - metric.UnixSec(rapid.IntRange(-2, 3).Draw(t, "back")))
			},
			"tick":  func(t *rapid.T) { now += metric.UnixSec(rapid.IntRange(1, 4).Draw(t, "d")) },
			"spill": func(t *rapid.T) { a.Spill(now - 3) },
			"detach": func(t *rapid.T) {
				a.Spill(now - 3)
				d := a.Detach(now - 3)
				if err := d.Counters(func(h Handle, sums []metric.Sum) error {
					for i, s := range sums {
						require.Less(t, s.Sec, now-3)
						if i > 0 {
							require.Less(t, sums[i-1].Sec, s.Sec, "one sum a second, in order")
						}
						flushed[place{a.Registry.Series(h), s.Sec}] += s.Value
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				sealed = append(sealed, d)
			},
			"": func(t *rapid.T) {
				require.Equal(t, oracle, collect(a, sealed...))
				c := a.Counts()
				out := uint64(0)
				for _, d := range sealed {
					out += d.Events()
				}
				require.Equal(t, events, c.Accepted)
				require.Equal(t, events, c.Open+out)
			},
		})
		a.Spill(metric.MaxSec)
		last := a.Detach(metric.MaxSec)
		require.NoError(t, last.Counters(func(h Handle, sums []metric.Sum) error {
			for _, s := range sums {
				flushed[place{a.Registry.Series(h), s.Sec}] += s.Value
			}
			return nil
		}))
		require.Equal(t, oracle, flushed, "BySeries gives what Open and Read gave")
		require.Zero(t, a.Entries())
	})
}

// TestReadersSeeEachSumOnce hammers a stripe while queries read it: a total is
// never below what was added before the query, nor above what is after it.
func TestReadersSeeEachSumOnce(t *testing.T) {
	a := newTest(1, roomy)
	s := a.Stripe(0)
	const series, rounds = 5000, 40 // more slots than one lock is held for
	var buf []byte
	var batch []Raw
	for i := range series { // and more events than one stage takes
		var e Raw
		buf, e = event(buf, "m", fmt.Sprintf("c|s%d", i), 1, 0)
		batch = append(batch, e)
	}
	total := func() (sum float64) {
		for _, v := range collect(a) {
			sum += v
		}
		return sum
	}
	s.Lock()
	s.Add(buf, batch, 100)
	s.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range rounds {
			s.Lock()
			s.Add(buf, batch, metric.UnixSec(101+i/2).Milli())
			s.Unlock()
		}
	})
	wg.Go(func() {
		for i := range rounds {
			a.Spill(metric.UnixSec(100 + i))
			a.Pack(metric.UnixSec(100 + i))
		}
	})
	before := 0.0
	for range 20 {
		got := total()
		require.GreaterOrEqual(t, got, before, "a sum was hidden")
		require.LessOrEqual(t, got, float64((rounds+1)*series), "a sum was seen twice")
		before = got
	}
	wg.Wait()
	require.Equal(t, float64((rounds+1)*series), total())
}

func TestSampleRateIsExact(t *testing.T) {
	a := newTest(1, roomy)
	for range 3 {
		require.Equal(t, metric.OK, add(a.Stripe(0), "m", "c@10/3", 3, 0, 10))
	}
	for _, v := range collect(a) {
		require.Equal(t, 30.0, v)
	}
}

func TestOverflowKeepsTotals(t *testing.T) {
	a := newTest(2, Limits{Series: 5, SeriesPerMetric: 3, Metrics: 3})
	for i := range 100 {
		require.Equal(t, metric.OK, add(a.Stripe(i%2), "m", fmt.Sprintf("c|s%d", i), 1, 0, 10))
	}
	sum := 0.0
	for _, v := range collect(a) {
		sum += v
	}
	require.Equal(t, 100.0, sum)
	m := metric.ID{Name: "m", Kind: metric.Counter}
	require.Len(t, a.Registry.Handles(m), 4, "three series and the overflow")
	require.Equal(t, []metric.ID{m}, a.Registry.Overflowed())
	over := collect(a)[place{metric.Series{ID: m, Tags: metric.OverflowTags}, 10}]
	require.Equal(t, 97.0, over)

	require.Equal(t, metric.OK, add(a.Stripe(0), "n", "c", 1, 0, 10))
	require.Equal(t, metric.OK, add(a.Stripe(0), "o", "c|t", 1, 0, 10), "beyond the series: its overflow")
	require.Equal(t, metric.TooManyMetrics, add(a.Stripe(0), "p", "c", 1, 0, 10))
	require.Equal(t, uint64(102), a.Counts().Accepted)
}

// TestManySecondsAreSmall: a sender of old timestamps does not take a chunk for
// each of them, and a busy second fills more than one.
func TestManySecondsAreSmall(t *testing.T) {
	a := newTest(1, roomy)
	const n = 20_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		require.Equal(t, metric.OK, add(a.Stripe(0), "m", "c", 1, metric.UnixSec(1+i), 1<<30))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, (after.HeapAlloc-before.HeapAlloc)/n, uint64(16*2*secondCost), "bytes a second")
	require.Equal(t, n*(1+secondCost), a.Entries())
	for i := range n {
		require.Equal(t, metric.OK, add(a.Stripe(0), "m", fmt.Sprintf("c|s%d", i), 2, 5, 1<<30))
	}
	sum, busy := 0.0, 0.0
	for b, v := range collect(a) {
		sum += v
		if b.sec == 5 {
			busy += v
		}
	}
	require.Equal(t, 3.0*n, sum)
	require.Equal(t, 2.0*n+1, busy)
}

func TestAliasesAreBounded(t *testing.T) {
	a := newTest(1, Limits{Series: 10, SeriesPerMetric: 10, Metrics: 1})
	for i := range 200 {
		add(a.Stripe(0), "m", "c|x"+strings.Repeat(" ", i), 1, 0, 10)
	}
	require.Len(t, a.Stripe(0).table.aliases, 10*aliasesPerSeries)
	require.Equal(t, map[place]float64{{metric.Series{
		ID: metric.ID{Name: "m", Kind: metric.Counter}, Tags: metric.NewTagset([]metric.Tag{{Key: "x"}}),
	}, 10}: 200}, collect(a))
}

func TestRejectedByTheResolver(t *testing.T) {
	a := newTest(1, roomy)
	require.Equal(t, metric.BadType, add(a.Stripe(0), "m", "q", 1, 0, 10))
	require.Equal(t, metric.BadValue, add(a.Stripe(0), "m", "c@2", 0.9*metric.MaxValue, 0, 10), "finite, but too large once weighted")
	require.Equal(t, Counts{}, a.Counts())
	require.Empty(t, collect(a))
}

// TestTableGrows checks keys across chunks and index sizes, with prefixes of one
// another, and that (name, rest) is not just their concatenation.
func TestTableGrows(t *testing.T) {
	tab := newTable([3]uint64{1, 2, 3})
	key := func(i int) (name, rest []byte) {
		return []byte(strings.Repeat("n", 1+i%200)), fmt.Appendf(nil, "%d", i)
	}
	const n = 20_000 // 2 MB of keys
	for i := range n {
		name, rest := key(i)
		tab.insert(tab.hash(name, rest), name, rest, uint32(i), 0)
	}
	require.Greater(t, len(tab.keys), 1)
	for i := range n {
		name, rest := key(i)
		e, ok := tab.find(tab.hash(name, rest), name, rest)
		require.True(t, ok)
		require.Equal(t, uint32(i), tab.aliases[e].slot)
		_, ok = tab.find(tab.hash(rest, name), rest, name)
		require.False(t, ok)
	}
	require.False(t, tab.equal(1, []byte("n"), []byte("n1")), "the hashes may be equal; the parts decide: nn, 1")
	require.True(t, tab.equal(1, []byte("nn"), []byte("1")))
	joined := []byte("nn1")
	_, ok := tab.find(tab.hash(joined, nil), joined, nil)
	require.False(t, ok)
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	a := newTest(1, roomy)
	s := a.Stripe(0)
	var buf []byte
	var batch []Raw
	for i := range 1000 {
		var e Raw
		buf, e = event(buf, fmt.Sprintf("m%d", i), "c|x", 1, 0)
		batch = append(batch, e)
	}
	now := metric.UnixSec(100)
	run := func() {
		s.Lock()
		s.Add(buf, batch, now.Milli())
		s.Unlock()
	}
	run()
	require.Zero(t, testing.AllocsPerRun(100, run))
}

func BenchmarkAdd(b *testing.B) {
	for _, series := range []int{1_000, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("series=%d", series), func(b *testing.B) {
			a := newTest(1, roomy)
			s := a.Stripe(0)
			rng := rand.New(rand.NewPCG(1, 1))
			var buf []byte
			events := make([]Raw, max(series, 1<<17))
			order := rng.Perm(series)
			for i := range events {
				n := order[i%series]
				buf, events[i] = event(buf, fmt.Sprintf("api.requests.count_%04d", n%1000), fmt.Sprintf("c|#env:prod,region:us-east-1,host:web-%03d", n/1000), 1, 0)
			}
			s.Add(buf, events, 100)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				for at := 0; at < len(events) && n < b.N; at += stage {
					part := events[at:min(at+stage, len(events))]
					s.Add(buf, part, 100)
					n += len(part)
				}
			}
		})
	}
}
