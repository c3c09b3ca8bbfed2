package bucket

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

const base metric.UnixSec = 1_700_000_000

// A fill draws events and puts each into the bucket that pick returns for it, so
// that the same events can be spread over several buckets.
type fill func(t *rapid.T, pick func() Bucket)

// fills hold one for each kind. Their values are whole numbers, so that sums are
// exact and buckets can be compared by their bytes.
var fills = map[metric.Kind]fill{
	metric.Gauge: func(t *rapid.T, pick func() Bucket) {
		for range rapid.IntRange(0, 12).Draw(t, "readings") {
			sec := base + metric.UnixSec(rapid.IntRange(0, 3).Draw(t, "sec"))
			arrived := sec.Milli() + metric.UnixMilli(rapid.IntRange(-1, 2).Draw(t, "late"))
			pick().(*Gauge).Observe(float64(rapid.IntRange(-3, 3).Draw(t, "v")), sec, arrived)
		}
	},
	metric.Distribution: func(t *rapid.T, pick func() Bucket) {
		for range rapid.IntRange(0, 60).Draw(t, "observations") {
			v := float64(rapid.IntRange(-20, 20).Draw(t, "v"))
			pick().(*Distribution).Observe(v, float64(rapid.IntRange(1, 4).Draw(t, "weight")))
		}
	},
	metric.Set: func(t *rapid.T, pick func() Bucket) {
		seed := rapid.Uint64Range(0, 1000).Draw(t, "seed")
		n := rapid.SampledFrom([]uint64{0, 1, 5, 300, 2040, 2047, 2048, 2049, 2060, 3000}).Draw(t, "members")
		zero := rapid.Uint64Range(0, 20).Draw(t, "few cells")
		var buckets [8]Bucket // pick draws, which is slow
		for i := range buckets {
			buckets[i] = pick()
		}
		for i := range n {
			h := mix(seed + i/2*2) // each of them twice, in buckets that may differ
			if i%20 < zero {
				h &^= (1<<restBits - 1) << 39
				h &^= 0xff << 56 // 64 cells, with different ranks
			}
			buckets[mix(i)%8].(*Set).Insert(h)
		}
	},
}

// mix is a hash of whole numbers (the finalizer of SplitMix64, Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func encode(b Bucket) []byte { return b.Append(nil, base) }

func merged(kind metric.Kind, parts ...Bucket) Bucket {
	b := New(kind)
	for _, p := range parts {
		b.Merge(p)
	}
	return b
}

func eachKind(t *testing.T, f func(t *testing.T, kind metric.Kind)) {
	for kind := range fills {
		t.Run(kind.String(), func(t *testing.T) { f(t, kind) })
	}
}

func TestMergeHasNoOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, kind metric.Kind) {
		rapid.Check(t, func(t *rapid.T) {
			parts := []Bucket{New(kind), New(kind), New(kind)}
			fills[kind](t, func() Bucket { return parts[rapid.IntRange(0, 2).Draw(t, "part")] })
			a, b, c := parts[0], parts[1], parts[2]
			before := encode(b)
			require.Equal(t, encode(merged(kind, a, b)), encode(merged(kind, b, a)), "commutative")
			require.Equal(t, before, encode(b), "other is not changed")
			require.Equal(t, encode(merged(kind, merged(kind, a, b), c)), encode(merged(kind, a, merged(kind, b, c))), "associative")
			require.Equal(t, encode(a), encode(merged(kind, a, New(kind))), "identity")
			require.Equal(t, encode(a), encode(merged(kind, New(kind), a)), "identity")
		})
	})
}

// TestMergeKeepsNothing changes what was merged, and what it was merged into.
func TestMergeKeepsNothing(t *testing.T) {
	eachKind(t, func(t *testing.T, kind metric.Kind) {
		rapid.Check(t, func(t *rapid.T) {
			a := New(kind)
			fills[kind](t, func() Bucket { return a })
			before := encode(a)
			b := merged(kind, a)
			fills[kind](t, func() Bucket { return b })
			require.Equal(t, before, encode(a))
			c := merged(kind, a)
			fills[kind](t, func() Bucket { return a })
			require.Equal(t, before, encode(c))
		})
	})
}

// TestSplitIsCanonical: however events are split, merged and in whatever order,
// the result is that of one bucket that saw all. For a gauge the order of calls
// decides between readings with the same time, so that it is not among them.
func TestSplitIsCanonical(t *testing.T) {
	for _, kind := range []metric.Kind{metric.Distribution, metric.Set} {
		t.Run(kind.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				parts := make([]Bucket, 5)
				for i := range parts {
					parts[i] = New(kind)
				}
				events := &replay{}
				fills[kind](t, func() Bucket { return events.bucket(kind) })
				for _, e := range rapid.Permutation(events.all).Draw(t, "order") {
					e(parts[rapid.IntRange(0, len(parts)-1).Draw(t, "part")])
				}
				whole := New(kind)
				for _, e := range events.all {
					e(whole)
				}
				all := merged(kind, rapid.Permutation(parts).Draw(t, "merges")...)
				require.Equal(t, encode(whole), encode(all))
			})
		})
	}
}

// replay holds each pick as an event of its own: what a fill put into it.
type replay struct{ all []func(Bucket) }

func (r *replay) bucket(kind metric.Kind) Bucket {
	b := New(kind)
	r.all = append(r.all, func(into Bucket) { into.Merge(b) })
	return b
}

func TestRoundTrip(t *testing.T) {
	eachKind(t, func(t *testing.T, kind metric.Kind) {
		reused := New(kind)
		rapid.Check(t, func(t *rapid.T) {
			b := New(kind)
			fills[kind](t, func() Bucket { return b })
			enc := encode(b)
			require.Equal(t, append([]byte("x"), enc...), b.Append([]byte("x"), base), "Append appends")
			require.NoError(t, reused.Decode(enc, base))
			require.Equal(t, enc, encode(reused))
			other := New(kind)
			fills[kind](t, func() Bucket { return other })
			require.Equal(t, encode(merged(kind, b, other)), encode(merged(kind, reused, other)))
			reused.Merge(other)
			require.Equal(t, encode(merged(kind, b, other)), encode(reused))
			if len(enc) > 0 {
				cut := rapid.IntRange(1, len(enc)-1).Draw(t, "cut")
				require.ErrorContains(t, reused.Decode(enc[:cut], base), "offset")
				require.Empty(t, encode(reused), "empty after an error")
				require.ErrorContains(t, reused.Decode(append(enc, 0), base), "")
			}
			reused.Reset()
			require.Empty(t, encode(reused))
			require.GreaterOrEqual(t, reused.Size(), 32)
		})
	})
}

func TestMergeWithItself(t *testing.T) {
	eachKind(t, func(t *testing.T, kind metric.Kind) {
		rapid.Check(t, func(t *rapid.T) {
			b := New(kind)
			fills[kind](t, func() Bucket { return b })
			if d, ok := b.(*Distribution); ok {
				d.bins = slices.Grow(d.bins, len(d.bins)) // its memory would do for both
			}
			twice := merged(kind, b, merged(kind, b))
			b.Merge(b)
			require.Equal(t, encode(twice), encode(b))
		})
	})
}

func TestMisuseIsABug(t *testing.T) {
	require.PanicsWithValue(t, "BUG: a counter has no bucket of its own", func() { New(metric.Counter) })
	eachKind(t, func(t *testing.T, kind metric.Kind) {
		require.Equal(t, kind, New(kind).Kind())
		other := metric.Gauge
		if kind == other {
			other = metric.Set
		}
		require.Panics(t, func() { New(kind).Merge(New(other)) })
	})
	require.Panics(t, func() { New(metric.Distribution).(*Distribution).Observe(math.NaN(), 1) })
	require.Panics(t, func() { New(metric.Distribution).(*Distribution).Observe(1, 0.5) })
	g := &Gauge{}
	g.Observe(1, base-1, 0)
	require.Panics(t, func() { g.Append(nil, base) })
}

func TestNumbers(t *testing.T) {
	for _, v := range []float64{0, 1, -1, 0.5, maxWhole, -maxWhole, maxWhole + 2, -maxWhole - 2, 10.0 / 3, 1e290, -1e290, math.MaxFloat64, math.SmallestNonzeroFloat64} {
		b := appendNumber(nil, v)
		r := reader{src: b, kind: "test"}
		require.Equal(t, v, r.number())
		require.NoError(t, r.end())
		r = reader{src: b[:len(b)-1], kind: "test"}
		r.number()
		require.ErrorContains(t, r.end(), "offset")
	}
	for _, b := range [][]byte{
		{1, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f}, {1, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f}, {3}, {},
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
	} {
		r := reader{src: b, kind: "test"}
		r.number()
		require.Error(t, r.end(), "%x", b)
	}
}

// fuzz decodes hostile bytes. What is accepted encodes to bytes that decode to
// the same, and merges.
func fuzz(t *testing.T, kind metric.Kind, src []byte) {
	b, again := New(kind), New(kind)
	err := b.Decode(src, base)
	if limit := 64*len(src) + 1<<15; b.Size() > limit {
		t.Fatalf("%d bytes took %d of memory", len(src), b.Size())
	}
	if err != nil {
		require.ErrorContains(t, err, "offset")
		require.Empty(t, encode(b))
		return
	}
	enc := encode(b)
	require.NoError(t, again.Decode(enc, base))
	require.Equal(t, enc, encode(again))
	again.Merge(b)
	b.Merge(b)
	require.Equal(t, encode(again), encode(b))
	require.NoError(t, again.Decode(encode(b), base), "what is merged stays readable")
	switch b := b.(type) {
	case *Distribution:
		if len(src) == 0 {
			return
		}
		for _, x := range []float64{0, b.Min, b.Max, -1, 0.3, b.Quantile(0.3)} {
			require.LessOrEqual(t, b.Above(x), 1.0)
			require.LessOrEqual(t, b.Below(x), 1.0)
			require.False(t, b.Quantile(0.5) < b.Min || b.Quantile(0.5) > b.Max)
		}
	case *Set:
		require.Equal(t, math.Trunc(b.Estimate()), b.Estimate())
	}
}
