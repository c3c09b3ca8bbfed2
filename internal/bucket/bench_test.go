package bucket

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
	"github.com/axiomhq/hyperloglog"
	"github.com/stretchr/testify/require"
)

// The benchmarks stand beside the libraries that one would take otherwise
// (docs/decisions/0003-own-sketches.md): the distribution beside sketches-go with
// its default store, and with the one that bounds the bins as ours does; both
// with exact count, sum, min and max.

// latencies are log-normal, in ms: half of them below 20, and 1% above 200.
func latencies(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 0))
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Round(20*math.Exp(r.NormFloat64())*1000) / 1000
	}
	return out
}

func oursOf(values []float64) *Distribution {
	d := &Distribution{}
	for _, v := range values {
		d.Observe(v, 1)
	}
	return d
}

type datadog = ddsketch.DDSketchWithExactSummaryStatistics

func datadogOf(tb testing.TB, bounded bool, values []float64) *datadog {
	m, err := mapping.NewLogarithmicMapping(accuracy)
	require.NoError(tb, err)
	provider := store.DefaultProvider
	if bounded {
		provider = func() store.Store { return store.NewCollapsingLowestDenseStore(maxSpan) }
	}
	d := ddsketch.NewDDSketchWithExactSummaryStatistics(m, provider)
	for _, v := range values {
		require.NoError(tb, d.Add(v))
	}
	return d
}

// heapOf returns what one of what makes keeps alive, in bytes.
func heapOf(makes func() any) float64 {
	const n = 500
	kept := make([]any, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range kept {
		kept[i] = makes()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(kept)
	return float64(after.HeapAlloc-before.HeapAlloc) / n
}

func BenchmarkObserve(b *testing.B) {
	values := latencies(1<<12, 1)
	b.Run("ours", func(b *testing.B) {
		d := oursOf(values)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			d.Observe(values[i%len(values)], 1)
		}
	})
	for name, bounded := range map[string]bool{"datadog": false, "datadog-bounded": true} {
		b.Run(name, func(b *testing.B) {
			d := datadogOf(b, bounded, values)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = d.Add(values[i%len(values)])
			}
		})
	}
}

// BenchmarkMergeDistribution merges two sketches of 200 observations into an
// empty one, which is used again.
func BenchmarkMergeDistribution(b *testing.B) {
	x, y := latencies(200, 1), latencies(200, 2)
	b.Run("ours", func(b *testing.B) {
		p, q, into := oursOf(x), oursOf(y), &Distribution{}
		b.ReportAllocs()
		for b.Loop() {
			into.Reset()
			into.Merge(p)
			into.Merge(q)
		}
	})
	for name, bounded := range map[string]bool{"datadog": false, "datadog-bounded": true} {
		b.Run(name, func(b *testing.B) {
			p, q, into := datadogOf(b, bounded, x), datadogOf(b, bounded, y), datadogOf(b, bounded, nil)
			b.ReportAllocs()
			for b.Loop() {
				into.Clear()
				_ = into.MergeWith(p)
				_ = into.MergeWith(q)
			}
		})
	}
}

// BenchmarkEncodeDistribution encodes a sketch of n observations, and reads it again.
func BenchmarkEncodeDistribution(b *testing.B) {
	for name, n := range map[string]int{"1": 1, "200": 200, "100000": 100_000} {
		values := latencies(n, 1)
		b.Run("ours-"+name, func(b *testing.B) {
			d, again := oursOf(values), &Distribution{}
			var buf []byte
			heap := heapOf(func() any { return oursOf(values) })
			b.ReportAllocs()
			for b.Loop() {
				buf = d.Append(buf[:0], base)
				_ = again.Decode(buf, base)
			}
			b.ReportMetric(float64(len(buf)), "bytes")
			b.ReportMetric(heap, "heap")
		})
		for store, bounded := range map[string]bool{"datadog-": false, "datadog-bounded-": true} {
			b.Run(store+name, func(b *testing.B) {
				d, again := datadogOf(b, bounded, values), datadogOf(b, bounded, nil)
				var buf []byte
				heap := heapOf(func() any { return datadogOf(b, bounded, values) })
				b.ReportAllocs()
				for b.Loop() {
					buf = buf[:0]
					d.Encode(&buf, true)
					again.Clear()
					_ = again.DecodeAndMergeWith(buf)
				}
				b.ReportMetric(float64(len(buf)), "bytes")
				b.ReportMetric(heap, "heap")
			})
		}
	}
}

func oursWith(from, to uint64) *Set {
	s := &Set{}
	for i := from; i < to; i++ {
		s.Insert(mix(i))
	}
	return s
}

func axiomWith(from, to uint64) *hyperloglog.Sketch {
	s := hyperloglog.New14()
	for i := from; i < to; i++ {
		s.InsertHash(mix(i))
	}
	return s
}

var memberCounts = []struct {
	name string
	n    uint64
}{{"200", 200}, {"2000", 2000}, {"100000", 100_000}}

// BenchmarkInsert inserts members that the set has.
func BenchmarkInsert(b *testing.B) {
	for _, c := range memberCounts {
		b.Run("ours-"+c.name, func(b *testing.B) {
			s := oursWith(0, c.n)
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				s.Insert(mix(i % c.n))
			}
		})
		b.Run("axiom-"+c.name, func(b *testing.B) {
			s := axiomWith(0, c.n)
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				s.InsertHash(mix(i % c.n))
			}
		})
	}
}

// BenchmarkFillSet makes a new set and inserts n members, which are all new at first.
func BenchmarkFillSet(b *testing.B) {
	for _, c := range memberCounts {
		b.Run("ours-"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				oursWith(0, c.n)
			}
		})
		b.Run("axiom-"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				axiomWith(0, c.n)
			}
		})
	}
}

// BenchmarkMergeSet merges two sets of n members, half of them the same, into an
// empty one; ours is used again, which the library does not offer.
func BenchmarkMergeSet(b *testing.B) {
	for _, c := range memberCounts {
		b.Run("ours-"+c.name, func(b *testing.B) {
			p, q, into := oursWith(0, c.n), oursWith(c.n/2, c.n*3/2), &Set{}
			b.ReportAllocs()
			for b.Loop() {
				into.Reset()
				into.Merge(p)
				into.Merge(q)
			}
		})
		b.Run("axiom-"+c.name, func(b *testing.B) {
			p, q := axiomWith(0, c.n), axiomWith(c.n/2, c.n*3/2)
			b.ReportAllocs()
			for b.Loop() {
				into := hyperloglog.New14()
				_ = into.Merge(p)
				_ = into.Merge(q)
			}
		})
	}
}

// BenchmarkEncodeSet encodes a set of n members, and reads it again.
func BenchmarkEncodeSet(b *testing.B) {
	for _, c := range memberCounts {
		b.Run("ours-"+c.name, func(b *testing.B) {
			s, again := oursWith(0, c.n), &Set{}
			var buf []byte
			heap := heapOf(func() any { return oursWith(0, c.n) })
			b.ReportAllocs()
			for b.Loop() {
				buf = s.Append(buf[:0], base)
				_ = again.Decode(buf, base)
			}
			b.ReportMetric(float64(len(buf)), "bytes")
			b.ReportMetric(heap, "heap")
		})
		b.Run("axiom-"+c.name, func(b *testing.B) {
			s, again := axiomWith(0, c.n), hyperloglog.New14()
			s.Estimate() // makes its encoding shorter
			var buf []byte
			heap := heapOf(func() any { return axiomWith(0, c.n) })
			b.ReportAllocs()
			for b.Loop() {
				buf, _ = s.AppendBinary(buf[:0])
				_ = again.UnmarshalBinary(buf)
			}
			b.ReportMetric(float64(len(buf)), "bytes")
			b.ReportMetric(heap, "heap")
		})
	}
}
