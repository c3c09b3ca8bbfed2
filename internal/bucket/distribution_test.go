package bucket

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

// near fails unless got is within 1% of want; float64 may round a value at the
// edge of two bins into the other one.
func near(t require.TestingT, want, got float64, what string, args ...any) {
	if math.Abs(got-want) > 0.01*math.Abs(want)*(1+1e-9)+1e-300 {
		require.Failf(t, "more than 1% off", "want %g, got %g: %s", want, got, fmt.Sprintf(what, args...))
	}
}

// TestQuantilesAreWithinOnePercent compares with the sorted observations, each as
// often as its weight says.
func TestQuantilesAreWithinOnePercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &Distribution{}
		var exact []float64
		value := rapid.OneOf(
			rapid.Float64Range(-1000, 1000), rapid.Float64Range(0, 1e-3), rapid.Float64Range(1, 1e12),
			rapid.SampledFrom([]float64{0, 1, -1, 5e-324, 1e-310}),
		)
		big := rapid.Float64Range(1e-290, 1e-289)
		if rapid.Bool().Draw(t, "huge") {
			big = rapid.Float64Range(1e289, 1e290)
		}
		if rapid.IntRange(0, 3).Draw(t, "extreme") == 0 {
			value = big
		} else {
			value = rapid.Map(value, func(v float64) float64 {
				if math.Abs(v) < 1e-20 { // smaller ones would fold
					return 0
				}
				return v
			})
		}
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			v, w := value.Draw(t, "v"), rapid.IntRange(1, 4).Draw(t, "weight")
			d.Observe(v, float64(w))
			exact = append(exact, slices.Repeat([]float64{v}, w)...)
		}
		slices.Sort(exact)
		for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1, rapid.Float64Range(0, 1).Draw(t, "q")} {
			near(t, exact[int(q*float64(len(exact)-1))], d.Quantile(q), "quantile %g of %d", q, len(exact))
		}
		require.Equal(t, exact[0], d.Quantile(0))
		require.Equal(t, exact[len(exact)-1], d.Quantile(1))

		x := rapid.SampledFrom(exact).Draw(t, "x") * rapid.SampledFrom([]float64{1, 1.01, 0.97, 2, -1}).Draw(t, "times")
		above, below := shares(exact, x, 1.0202)
		least, most := shares(exact, x, 1)
		require.GreaterOrEqual(t, d.Above(x)+1e-12, above)
		require.LessOrEqual(t, d.Above(x)-1e-12, least)
		require.GreaterOrEqual(t, d.Below(x)+1e-12, below)
		require.LessOrEqual(t, d.Below(x)-1e-12, most)
	})
}

// shares returns the shares that are above and below x by more than the factor.
func shares(exact []float64, x, factor float64) (above, below float64) {
	up, down := x*factor, x/factor
	if x < 0 {
		up, down = down, up
	}
	for _, v := range exact {
		if v > up {
			above++
		}
		if v < down {
			below++
		}
	}
	return above / float64(len(exact)), below / float64(len(exact))
}

func TestDistributionReads(t *testing.T) {
	d := &Distribution{}
	require.True(t, math.IsNaN(d.Quantile(0.5)) && math.IsNaN(d.Above(1)) && math.IsNaN(d.Below(1)))
	d.Observe(3, 2.5)
	d.Observe(3, 1)
	require.Equal(t, Distribution{Count: 3.5, Sum: 10.5, Min: 3, Max: 3, bins: d.bins}, *d)
	require.Equal(t, 3.0, d.Quantile(0.5), "clamped to what was seen")

	d = &Distribution{}
	for v := -50; v <= 50; v++ {
		d.Observe(float64(v), 1)
	}
	require.Equal(t, []float64{1, 0}, []float64{d.Above(-51), d.Below(-51)})
	require.Equal(t, []float64{0, 1}, []float64{d.Above(51), d.Below(51)})
	require.Equal(t, []float64{0, 0}, []float64{d.Above(50), d.Below(-50)})
	require.Equal(t, []float64{50.0 / 101, 50.0 / 101}, []float64{d.Above(0), d.Below(0)})
	require.Equal(t, []float64{40.0 / 101, 60.0 / 101}, []float64{d.Above(10), d.Below(10)})
	require.Equal(t, []float64{60.0 / 101, 40.0 / 101}, []float64{d.Above(-10), d.Below(-10)})
	require.Equal(t, []float64{0, 1}, []float64{d.Above(math.Inf(1)), d.Below(math.Inf(1))})
	require.True(t, math.IsNaN(d.Above(math.NaN())))
}

func TestKeys(t *testing.T) {
	require.InEpsilon(t, math.Log(gamma), lnGamma, 1e-14)
	for _, v := range []float64{smallest, math.MaxFloat64} {
		require.GreaterOrEqual(t, keyOf(v), int32(minKey))
		require.LessOrEqual(t, keyOf(v), int32(maxKey))
		require.Equal(t, -keyOf(v), keyOf(-v))
	}
	require.Equal(t, int32(keyOffset), keyOf(1))
	require.Zero(t, keyOf(math.Nextafter(smallest, 0)))
	rapid.Check(t, func(t *rapid.T) {
		v := math.Exp(rapid.Float64Range(-700, 700).Draw(t, "ln v"))
		near(t, v, valueOf(keyOf(v)), "its bin")
		near(t, -v, valueOf(keyOf(-v)), "its bin")
	})
}

// TestFoldingIsCanonical compares bins with what folding all observations at once
// gives, however they are split and merged.
func TestFoldingIsCanonical(t *testing.T) {
	key := rapid.OneOf(
		rapid.Int32Range(minKey, maxKey), rapid.Int32Range(-maxKey, -minKey), rapid.Just(int32(0)),
		rapid.Int32Range(minKey, minKey+2), rapid.Int32Range(minKey+maxSpan-2, minKey+maxSpan+2),
		rapid.Int32Range(-minKey-2, -minKey), rapid.Int32Range(-minKey-maxSpan-2, -minKey-maxSpan+2),
	)
	rapid.Check(t, func(t *rapid.T) {
		parts := make([]bins, 4)
		keys := rapid.SliceOfN(key, 1, 40).Draw(t, "keys")
		top, low := slices.Max(keys), slices.Min(keys)
		want := map[int32]float64{}
		for i, k := range keys {
			parts[rapid.IntRange(0, len(parts)-1).Draw(t, "part")].add(k, float64(1+i))
			if k > 0 {
				k = max(k, top-maxSpan+1)
			} else if k < 0 {
				k = min(k, low+maxSpan-1)
			}
			want[k] += float64(1 + i)
		}
		var got bins
		for _, p := range rapid.Permutation(parts).Draw(t, "merges") {
			require.True(t, slices.IsSortedFunc(p, func(a, b bin) int { return int(a.key - b.key) }))
			got.merge(p)
		}
		require.Len(t, got, len(want))
		for i, b := range got {
			require.Equal(t, want[b.key], b.weight, "key %d", b.key)
			require.True(t, i == 0 || got[i-1].key < b.key)
		}
	})
}

// TestBinsAreBounded observes values over 200 powers of e, of which 82 are kept.
func TestBinsAreBounded(t *testing.T) {
	up, down := &Distribution{}, &Distribution{}
	const n = 20_000
	for i := range n {
		v := math.Exp(-100 + 200*float64(i)/n)
		up.Observe(v, 1)
		up.Observe(-v, 1)
		v = math.Exp(-100 + 200*float64(n-1-i)/n)
		down.Observe(-v, 1)
		down.Observe(v, 1)
	}
	require.Len(t, up.bins, 2*maxSpan, "full on both sides")
	require.Equal(t, up.bins, down.bins)
	require.Equal(t, 2.0*n, weightOf(up.bins))
	require.Less(t, up.Size(), 2<<18)
	near(t, math.Exp(-100+200*0.98), up.Quantile(0.99), "the upper end stays exact")
}

// TestGoldenDistribution holds the bytes that docs/format.md draws.
func TestGoldenDistribution(t *testing.T) {
	d := &Distribution{}
	d.Observe(250, 2)
	require.Equal(t, []byte{0x00, 0x08, 0xe8, 0x07}, encode(d))
	d.Observe(0, 1)
	d.Observe(251, 1)
	d.Observe(255, 1)
	require.Equal(t, []byte{
		0x01, 0x14, 0xb8, 0x1f, 0x00, 0xfc, 0x07,
		0x03, 0x00, 0x04, 0xb5, 0x9b, 0x02, 0x0c, 0x01, 0x04,
	}, encode(d))
}

func TestDistributionRefuses(t *testing.T) {
	for why, src := range map[string][]byte{
		"unknown form":      {2},
		"count of zero":     {0, 0, 4},
		"no bins":           {1, 4, 4, 4, 4, 0},
		"more bins":         {1, 4, 4, 4, 4, 2, 0, 4},
		"bins without end":  {1, 4, 4, 4, 4, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 4},
		"min above max":     {1, 4, 4, 8, 4, 1, 0, 4},
		"the same bin":      {1, 8, 4, 4, 4, 2, 0, 4, 0, 4},
		"weight of zero":    {1, 4, 4, 4, 4, 1, 0, 0},
		"negative weight":   {1, 4, 4, 4, 4, 1, 0, 2},
		"bin of no value":   {1, 4, 4, 4, 4, 1, 2, 4},
		"bin beyond":        {1, 4, 4, 4, 4, 1, 0xfe, 0xff, 0x0f, 4},
		"not finite weight": {1, 4, 4, 4, 4, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f},
		"trailing bytes":    {0, 4, 4, 4},
		"sum not finite":    {0, 1, 0, 0, 0, 0, 0, 0, 0xe0, 0x7f, 0x20},
		"bins too far apart": {
			1, 8, 4, 4, 4, 2, 0xc0, 0xb2, 0x04, 4, 0x80, 0x20, 4,
		},
	} {
		require.ErrorContains(t, (&Distribution{}).Decode(src, base), "offset", why)
	}
	require.NoError(t, (&Distribution{}).Decode([]byte{1, 8, 4, 4, 4, 2, 0xc0, 0xb2, 0x04, 4, 0xff, 0x1f, 4}, base), "as far as may be")
}

func FuzzDistribution(f *testing.F) {
	d := &Distribution{}
	for _, v := range []float64{250, 250, 0, -3, 1e300, 1e-300, -1e290, 0.1} {
		d.Observe(v, 10.0/3)
		f.Add(encode(d))
	}
	f.Add([]byte{1, 4, 4, 4, 4, 1, 0, 4})
	f.Fuzz(func(t *testing.T, src []byte) { fuzz(t, metric.Distribution, src) })
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	d, g, s, big := &Distribution{}, &Gauge{}, &Set{}, &Set{}
	for i := range 100_000 {
		big.Insert(mix(uint64(i)))
	}
	i := 0
	step := func() {
		i++
		d.Observe(float64(i%100)-30, 10.0/3)
		g.Observe(float64(i), base, base.Milli()+metric.UnixMilli(i))
		s.Insert(mix(uint64(i % 1000)))
		big.Insert(mix(uint64(i)))
	}
	for range 1000 {
		step()
	}
	require.Zero(t, testing.AllocsPerRun(1000, step))

	buf := make([]byte, 0, 1<<16)
	parts := []Bucket{d, g, s}
	into := []Bucket{&Distribution{}, &Gauge{}, &Set{}}
	round := func() {
		for i, b := range into {
			b.Reset()
			b.Merge(parts[i])
			b.Merge(parts[i])
			buf = b.Append(buf[:0], base)
			require.NoError(t, b.Decode(buf, base))
		}
	}
	round()
	require.Zero(t, testing.AllocsPerRun(100, round))
}
