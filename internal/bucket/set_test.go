package bucket

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

func TestSetEstimates(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10, 100, 1000, 2000, 2048, 2060, 2500, 5000, 10_000, 30_000, 50_000, 100_000, 300_000, 1_000_000} {
		for seed := range 4 {
			s := &Set{}
			for i := range n {
				s.Insert(mix(uint64(seed)<<40 + uint64(i)))
			}
			off := 0.03
			if n <= 2000 {
				off = 0.001
			}
			require.InDelta(t, float64(n), s.Estimate(), off*float64(n), "%d members, seed %d", n, seed)
			require.Equal(t, math.Trunc(s.Estimate()), s.Estimate())
			again := &Set{}
			require.NoError(t, again.Decode(encode(s), base))
			require.Equal(t, s.Estimate(), again.Estimate())
		}
	}
}

// TestCodesTellRegistersAll: going through a code loses nothing of a hash that
// its register needs.
func TestCodesTellRegistersAll(t *testing.T) {
	for i := range uint64(1 << 16) {
		h := mix(i)
		if i%2 == 0 {
			h &^= (1<<restBits - 1) << 39
		}
		if i%4 == 0 {
			h &^= 1<<39 - 1 - (1<<(i/4%39) - 1)
		}
		at, rank := register(codeOf(h))
		require.Equal(t, uint32(h>>50), at)
		require.Equal(t, rankOf(h), rank, "hash %x", h)
	}
	_, rank := register(codeOf(0))
	require.EqualValues(t, maxRank, rank)
}

func TestCellKeepsTheLargestRank(t *testing.T) {
	s := &Set{}
	for _, rest := range []uint64{1 << 30, 1 << 20, 1 << 25} {
		s.Insert(7<<50 | rest)
	}
	require.Equal(t, []uint32{7<<(restBits+rankBits) | 64 - registerBits - 20}, s.codes)
}

// TestErtlSeries compares with the sums of their definitions, taken to where
// float64 ends.
func TestErtlSeries(t *testing.T) {
	for _, x := range []float64{0, 1e-6, 0.3, 0.5, 0.9, 0.999, 1 - 1e-9} {
		wantSigma, wantTau := x, 1-x
		for k := 1; k <= 60; k++ {
			wantSigma += math.Pow(x, math.Pow(2, float64(k))) * math.Pow(2, float64(k-1))
			wantTau -= math.Pow(1-math.Pow(x, math.Pow(2, -float64(k))), 2) * math.Pow(2, -float64(k))
		}
		require.InEpsilon(t, 1+wantSigma, 1+sigma(x), 1e-9, "sigma(%g)", x)
		if x > 0 {
			require.InDelta(t, wantTau/3, tau(x), 1e-9, "tau(%g)", x)
		}
	}
	require.Zero(t, tau(0))
	require.Zero(t, tau(1))
	require.True(t, math.IsInf(sigma(1), 1))
}

// TestSetTurnsDenseAtOneCount: the form depends on the number of cells only.
func TestSetTurnsDenseAtOneCount(t *testing.T) {
	s := &Set{}
	for cell := range uint64(maxCodes) {
		s.Insert(cell << 39)
	}
	require.Len(t, s.codes, maxCodes)
	require.Empty(t, s.regs)
	s.Insert(5<<39 | 1)
	s.Insert(0)
	require.Empty(t, s.regs, "no cell more")
	one := &Set{}
	one.Insert(maxCodes << 39)
	byMerge := merged(metric.Set, s, one)
	s.Insert(maxCodes << 39)
	require.Len(t, s.regs, registers)
	require.Equal(t, encode(s), encode(byMerge))
}

// TestDenseForms checks both, and that the shorter one is taken.
func TestDenseForms(t *testing.T) {
	s := &Set{}
	for i := range 100_000 {
		s.Insert(mix(uint64(i)))
	}
	enc := encode(s)
	require.EqualValues(t, formHuffman, enc[0])
	require.Less(t, len(enc), packedBytes*2/3)

	regs := slices.Clone(s.regs)
	enc = s.appendPacked(nil)
	require.Len(t, enc, 1+packedBytes)
	require.NoError(t, s.Decode(enc, base))
	require.Equal(t, regs, s.regs)

	for i := range s.regs { // Huffman has no code for a single symbol
		s.regs[i] = maxRank
	}
	enc = encode(s)
	require.EqualValues(t, formPacked, enc[0])
	require.Equal(t, float64(math.MaxUint64), s.Estimate())
	enc[7] = 0xff
	require.ErrorContains(t, s.Decode(enc, base), "offset 7")
}

// TestGoldenSet holds the bytes that docs/format.md draws.
func TestGoldenSet(t *testing.T) {
	s := &Set{}
	s.Insert(300 << 39)
	s.Insert(5<<39 | 1<<38)
	s.Insert(2048<<39 | 1<<36)
	require.Equal(t, []byte{0x00, 0x03, 0x05, 0xa7, 0x02, 0xd4, 0x0d, 0x0e}, encode(s))
}

func TestSetRefuses(t *testing.T) {
	long := []byte{0, 0x81, 0x10} // 2049 cells
	for range maxCodes + 1 {
		long = append(long, 1)
	}
	huge := []byte{formHuffman}
	for why, src := range map[string][]byte{
		"unknown form":       {3},
		"no cells":           {0, 0},
		"more cells":         {0, 2, 5},
		"cells without end":  {0, 0xff, 0xff, 0xff, 0xff, 0x0f, 5},
		"too many cells":     long,
		"the same cell":      {0, 2, 5, 0},
		"a cell beyond":      {0, 1, 0x80, 0x80, 0x80, 0x10},
		"rank 11":            {0, 1, 0, 11},
		"rank 52":            {0, 1, 0, 52},
		"no rank":            {0, 1, 0},
		"trailing bytes":     {0, 1, 5, 0},
		"packed, short":      append([]byte{formPacked}, make([]byte, packedBytes-1)...),
		"packed, long":       append([]byte{formPacked}, make([]byte, packedBytes+1)...),
		"no code table":      huge,
		"half a code table":  {formHuffman, 5, 1, 2},
		"a table, no codes":  {formHuffman, 0x80, 0x10},
		"codes of too few":   {formHuffman, 0x81, 0x10, 0x10, 1},
		"cell gap overflows": {0, 2, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		require.ErrorContains(t, (&Set{}).Decode(src, base), "offset", why)
	}
}

func FuzzSet(f *testing.F) {
	s := &Set{}
	for i := range 3000 {
		s.Insert(mix(uint64(i)))
		if i < 5 || i == 2047 || i == 2999 {
			f.Add(encode(s))
		}
	}
	f.Add([]byte{0, 2, 0, 12, 5})
	f.Fuzz(func(t *testing.T, src []byte) { fuzz(t, metric.Set, src) })
}
