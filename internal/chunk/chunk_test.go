package chunk

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math"
	"math/rand"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

func decodeSums(t require.TestingT, b []byte) map[uint32]float64 {
	slots, sums, err := NewDecoder().Sums(b, MaxSlots)
	require.NoError(t, err)
	require.True(t, slices.IsSorted(slots))
	out := map[uint32]float64{}
	for i, s := range slots {
		out[s] = sums[i]
	}
	require.Len(t, out, len(slots))
	n, err := Count(b)
	require.NoError(t, err)
	require.EqualValues(t, len(out), n)
	return out
}

// anyChunk draws the slots of a counter in all shapes that a chunk may have.
func anyChunk(t *rapid.T) map[uint32]float64 {
	rng := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
	n := rapid.SampledFrom([]int{1, 2, 15, 16, 17, 100, 360, 1023, 1024, 1500, 3600}).Draw(t, "slots")
	first := rng.Intn(MaxSlots - n + 1)
	fill := rapid.SampledFrom([]float64{1, 1, 0.99, 0.6, 0.3, 0.05}).Draw(t, "filled")
	base := rapid.SampledFrom([]float64{0, 1, -70, 1e6, 0x1p53, -0x1p53, 0x1p40}).Draw(t, "base")
	spread := rapid.SampledFrom([]float64{0, 1, 100, 254, 255, 256, 4095, 4096, 1e6, 1e12, 0x1p41, 0x1p53}).Draw(t, "spread")
	form := rapid.IntRange(0, 5).Draw(t, "form")
	out := map[uint32]float64{}
	for i := range n {
		if i != 0 && i != n-1 && rng.Float64() > fill {
			continue
		}
		v := base - math.Copysign(math.Trunc(rng.Float64()*spread), base)
		switch form {
		case 1:
			v = math.Round(v*100+rng.Float64()*100) / 100
		case 2:
			v = rng.NormFloat64() * spread
		case 3:
			if rng.Intn(50) != 0 {
				v = base
			}
		case 4:
			v = math.Float64frombits(rng.Uint64() &^ (1 << 62))
		}
		out[uint32(first+i)] = v + 0
	}
	return out
}

func columnsOf(m map[uint32]float64) ([]uint32, []float64) {
	slots := slices.Sorted(maps.Keys(m))
	sums := make([]float64, len(slots))
	for i, s := range slots {
		sums[i] = m[s]
	}
	return slots, sums
}

func TestSumsRoundTrip(t *testing.T) {
	var e encoder
	rapid.Check(t, func(t *rapid.T) {
		want := anyChunk(t)
		slots, sums := columnsOf(want)
		col := e.appendSums(nil, slots, sums)
		require.Equal(t, want, decodeSums(t, col), "columns")
		run := runOf(slots, sums)
		require.Equal(t, want, decodeSums(t, run), "run")
		require.Equal(t, want, decodeSums(t, merge(true, run)))
		require.LessOrEqual(t, len(merge(true, run)), len(run))
		lo, hi := rapid.Uint32Range(0, MaxSlots).Draw(t, "lo"), rapid.Uint32Range(0, MaxSlots).Draw(t, "hi")
		for _, b := range [][]byte{col, run} {
			part := maps.Clone(want)
			maps.DeleteFunc(part, func(slot uint32, _ float64) bool { return slot < lo || slot >= hi })
			gotSlots, gotSums, err := NewDecoder().SumsIn(b, MaxSlots, lo, hi)
			require.NoError(t, err)
			wantSlots, wantSums := columnsOf(part)
			require.Equal(t, len(wantSlots), len(gotSlots))
			for i := range wantSlots {
				require.Equal(t, wantSlots[i], gotSlots[i])
				require.Equal(t, wantSums[i], gotSums[i])
			}
		}
		_, _, err := NewDecoder().Sums(col, slots[len(slots)-1])
		require.ErrorContains(t, err, "offset")
	})
}

func floatColumns(sums ...float64) []byte {
	var e encoder
	slots := make([]uint32, len(sums))
	for i := range slots {
		slots[i] = uint32(i)
	}
	return e.appendFloats(e.appendPresence(nil, metric.Counter, slots), sums)
}

func TestMinusZeroIsZero(t *testing.T) {
	minus := math.Copysign(0, -1)
	for _, b := range [][]byte{runOf([]uint32{0}, []float64{minus}), floatColumns(minus, 0.5)} {
		require.False(t, math.Signbit(decodeSums(t, merge(true, b, []byte{Run(metric.Counter)}))[0]))
		require.False(t, math.Signbit(decodeSums(t, b)[0]))
	}
}

func TestNumbersAreFinite(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, _, err := NewDecoder().Sums(floatColumns(1, v), MaxSlots)
		require.ErrorContains(t, err, "not finite at offset")
		_, _, err = NewDecoder().Sums(runOf([]uint32{3}, []float64{v}), MaxSlots)
		require.ErrorContains(t, err, "not finite at offset")
	}
}

// TestMergeInAnyGrouping splits what is added over operands, and merges these in any order
// and grouping, with or without what is damaged between them.
func TestMergeInAnyGrouping(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[uint32]float64{}
		var operands [][]byte
		bad := rapid.IntRange(0, 3).Draw(t, "bad")
		for i := range rapid.IntRange(1, 8).Draw(t, "operands") {
			m := map[uint32]float64{}
			for range rapid.SampledFrom([]int{1, 10, 300}).Draw(t, "n") {
				s := rapid.Uint32Range(0, 700).Draw(t, "slot")
				m[s] = float64(rapid.IntRange(-3, 300).Draw(t, "v"))
			}
			for s, v := range m {
				want[s] += v
			}
			b := runOf(columnsOf(m))
			if i%2 == 1 {
				b = merge(true, b, []byte{Run(metric.Counter)})
			}
			operands = append(operands, b)
		}
		for i := range bad {
			operands = append(operands, [][]byte{{}, {0x77, 1}, {Run(metric.Counter), 0xff}}[i])
		}
		whole := merge(true, append(operands, []byte{Run(metric.Counter)})...)
		for len(operands) > 1 {
			operands = rapid.Permutation(operands).Draw(t, "order")
			n := rapid.IntRange(2, len(operands)).Draw(t, "group")
			operands = append(operands[n:], merge(rapid.Bool().Draw(t, "last"), operands[:n]...))
		}
		got := merge(true, operands[0], []byte{Run(metric.Counter)})
		require.Equal(t, want, decodeSums(t, got))
		d, err := DamageOf(got)
		require.NoError(t, err)
		require.EqualValues(t, bad, d.Operands)
		require.Len(t, d.Kept, bad)
		require.Equal(t, whole, got)
	})
}

func TestDamageIsBounded(t *testing.T) {
	var operands [][]byte
	for i := range 100 {
		b := make([]byte, 1000+i*20)
		b[0], b[1] = 0x77, byte(i)
		operands = append(operands, b)
	}
	one := merge(true, operands...)
	require.Less(t, len(one), maxKept+1000)
	two := merge(true, merge(false, operands[50:]...), merge(true, operands[:50]...))
	require.Equal(t, one, two)
	d, err := DamageOf(one)
	require.NoError(t, err)
	require.EqualValues(t, 100, d.Operands)
	require.Equal(t, operands[0], d.Kept[0])
}

// TestAnEmptyOperandIsDamage: Pebble may hand one to a merge, also alone and for the last time.
func TestAnEmptyOperandIsDamage(t *testing.T) {
	for _, last := range []bool{false, true} {
		out := merge(last, []byte{})
		if last {
			d, err := DamageOf(out)
			require.NoError(t, err)
			require.Equal(t, []any{uint64(1), [][]byte{{}}, []byte{}}, []any{d.Operands, d.Kept, d.Good})
		} else {
			require.Empty(t, out)
		}
	}
}

// emptyDamage is a frame that keeps n operands without a byte.
func emptyDamage(n int) []byte {
	b := binary.AppendUvarint([]byte{FormatDamaged}, uint64(n))
	return append(binary.AppendUvarint(b, uint64(n)), make([]byte, n)...)
}

// TestDamageThatNobodyWrites is damage itself: a frame that keeps more than is ever kept, which
// would take a minute in each merge, or that holds none.
func TestDamageThatNobodyWrites(t *testing.T) {
	for _, b := range [][]byte{
		emptyDamage(maxKept + 1), emptyDamage(0), append(emptyDamage(0), Run(metric.Counter), 0, 2),
		append(binary.AppendUvarint([]byte{FormatDamaged, 1, 1}, maxKept), make([]byte, maxKept)...),
		bytes.Repeat([]byte{FormatDamaged}, 200<<10),
	} {
		_, err := DamageOf(b)
		require.Error(t, err, "%.8x", b)
		d, err := DamageOf(merge(true, b, []byte{Run(metric.Counter), 0, 2}))
		require.NoError(t, err)
		require.EqualValues(t, 1, d.Operands)
		require.Equal(t, []byte{Run(metric.Counter), 0, 2}, d.Good)
	}
	// The most that is kept, again and again: it takes long if it is put together one by one.
	most := emptyDamage(maxKept)
	operands := slices.Repeat([][]byte{most}, 3)
	d, err := DamageOf(merge(true, operands...))
	require.NoError(t, err)
	require.EqualValues(t, 3*maxKept, d.Operands)
	require.Len(t, d.Kept, maxKept)
}

var kinds = []metric.Kind{metric.Gauge, metric.Distribution, metric.Set}

// randomBucket returns the bytes of a bucket of events that suit a slot.
func randomBucket(rng *rand.Rand, k metric.Kind, slot uint32) bucket.Bucket {
	b := bucket.New(k)
	for range 1 + rng.Intn(1+rng.Intn(4)) {
		switch b := b.(type) {
		case *bucket.Gauge:
			sec := second(slot)
			b.Observe(math.Round(rng.NormFloat64()*100)/4, sec, sec.Milli()+metric.UnixMilli(rng.Intn(1000)))
		case *bucket.Distribution:
			b.Observe(math.Round(rng.ExpFloat64()*1000)/4, 1)
		case *bucket.Set:
			for range 1 + rng.Intn(5) {
				b.Insert(rng.Uint64())
			}
			if rng.Intn(200) == 0 {
				for range 3000 {
					b.Insert(rng.Uint64())
				}
			}
		}
	}
	return b
}

func TestBucketsRoundTripAndMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(kinds).Draw(t, "kind")
		rng := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		n := rapid.SampledFrom([]int{1, 30, 300}).Draw(t, "slots")
		want := map[uint32]bucket.Bucket{}
		var operands [][]byte
		for range rapid.IntRange(1, 4).Draw(t, "operands") {
			run, prev := []byte{Run(k)}, uint32(0)
			for slot := range uint32(n) {
				if n == 30 && rng.Intn(3) == 0 {
					continue
				}
				b := randomBucket(rng, k, slot)
				if want[slot] == nil {
					want[slot] = bucket.New(k)
				}
				want[slot].Merge(b)
				run = AppendBucket(run, prev, slot, b.Append(nil, second(slot)))
				prev = slot + 1
			}
			operands = append(operands, run)
		}
		whole := merge(true, operands...)
		for _, b := range [][]byte{whole, merge(false, merge(true, operands[0]), merge(false, operands[1:]...))} {
			if len(b) > 0 && b[0] == FormatDamaged {
				d, _ := DamageOf(b) // operands[1:] may be none, which is no chunk
				b = d.Good
			}
			got := 0
			require.NoError(t, NewDecoder().Buckets(b, k, MaxSlots, func(slot uint32, v []byte) error {
				require.Equal(t, want[slot].Append(nil, second(slot)), v)
				got++
				return nil
			}))
			require.Equal(t, len(want), got)
			c, err := Count(b)
			require.NoError(t, err)
			require.EqualValues(t, got, c)
		}
	})
}

// TestAccumulatorIsBounded: buckets that others took the place of are let go.
func TestAccumulatorIsBounded(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	a := NewAccumulator()
	a.Start(MaxSlots, second)
	for range 40 {
		run, prev := []byte{Run(metric.Set)}, uint32(0)
		for slot := range uint32(20) {
			s := bucket.New(metric.Set).(*bucket.Set)
			for range 4000 {
				s.Insert(rng.Uint64())
			}
			run = AppendBucket(run, prev, slot, s.Append(nil, second(slot)))
			prev = slot + 1
		}
		a.Add(run)
		require.LessOrEqual(t, len(a.bytes), 2*a.live+1<<20+20<<10)
	}
	require.Less(t, a.Size(), 8<<20)
}

func TestDecodingAllocatesNothing(t *testing.T) {
	d := NewDecoder()
	for i := range 10 {
		b := merge(true, runOf(dataset(i, 3600)))
		require.NotEqual(t, Run(metric.Counter), b[0])
		require.Zero(t, testing.AllocsPerRun(100, func() {
			if _, _, err := d.Sums(b, MaxSlots); err != nil {
				panic(err)
			}
		}), "series %d", i)
	}
}

// TestSizeOfTheDataset holds the sizes that BenchmarkSize tells.
func TestSizeOfTheDataset(t *testing.T) {
	var e encoder
	samples, first, all := 0, 0, 0
	for i := range 70 {
		slots, sums := dataset(i, 3600)
		samples += len(slots)
		for t, width := range []uint32{1, 10, 60, 3600} {
			s, v := rollUp(slots, sums, width)
			n := min(len(runOf(s, v)), len(e.appendSums(nil, s, v)))
			if all += n; t == 0 {
				first += n
			}
		}
	}
	require.Less(t, float64(first)/float64(samples), 0.645)
	require.Less(t, float64(all)/float64(samples), 0.81)
}

// TestGoldenRun holds the bytes that docs/format.md draws.
func TestGoldenRun(t *testing.T) {
	run := runOf([]uint32{5, 6, 107}, []float64{3, -1, 1.5})
	require.Equal(t, []byte{0x11, 0x0a, 0x06, 0x00, 0x01, 0xc9, 0x01, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, run)
}

// TestGoldenColumns holds the bytes that docs/format.md draws.
func TestGoldenColumns(t *testing.T) {
	var e encoder
	slots := make([]uint32, 20)
	sums := make([]float64, 20)
	for i := range slots {
		slots[i], sums[i] = uint32(5+i), 7
	}
	for i := range sums {
		sums[i] = 2.5
	}
	require.Equal(t, []byte{0x21, 2, 20, 5, 1, 50, 0, 1, 0}, e.appendSums(nil, slots, sums))
	for i := range slots {
		slots[i] = uint32(5 + 10*i)
	}
	require.Equal(t, []byte{0x21, 0, 20, 5, 18, 0, 1, 0, 1, 50, 0, 1, 0}, e.appendSums(nil, slots, sums))
	slots, sums = []uint32{5, 6, 8, 9}, []float64{1, 2, 3, 4}
	require.Equal(t, []byte{0x21, 1, 4, 5, 5, 0, 2, 2, 0, 1, 1, 0, 1, 1, 0xe4}, e.appendSums(nil, slots, sums))
	require.Equal(t, []byte{0x22, 2, 2, 5, 0, 0, 1, 0, 0x90, 3, 0, 1, 0, 0, 4, 0, 1, 0, 0, 2, 0, 1, 0},
		gaugeColumnsOf(t, 5, 6))
	require.Equal(t, []byte{0x0f, 1, 1, 2, 0x77, 1, 0x11, 0, 2}, merge(true, []byte{0x77, 1}, []byte{0x11, 0, 2}))
}

// gaugeColumnsOf returns the columns of one reading of 2 a slot, 200 ms late.
func gaugeColumnsOf(t *testing.T, slots ...uint32) []byte {
	var e encoder
	g := bucket.New(metric.Gauge).(*bucket.Gauge)
	g.Observe(2, 1000, metric.UnixSec(1000).Milli()+200)
	b, ok := e.appendBuckets(nil, metric.Gauge, slots, func(int) []byte { return g.Append(nil, 1000) })
	require.True(t, ok)
	return b
}

// FuzzChunk decodes any bytes: no panic, slots ascending and in range, sums finite; and what a
// merge makes of them decodes.
func FuzzChunk(f *testing.F) {
	for i := range 10 {
		f.Add(merge(true, runOf(dataset(i, 400))))
		f.Add(runOf(dataset(i, 40)))
	}
	rng := rand.New(rand.NewSource(1))
	for _, k := range kinds {
		run := []byte{Run(k)}
		for slot := range uint32(40) {
			run = AppendBucket(run, slot, slot, randomBucket(rng, k, slot).Append(nil, second(slot)))
		}
		f.Add(run)
		f.Add(merge(true, run))
	}
	f.Add(merge(true, []byte{0x77, 1}, []byte{0x11, 0, 2}))
	d := NewDecoder()
	f.Fuzz(func(t *testing.T, b []byte) {
		if slots, sums, err := d.Sums(b, 360); err == nil {
			for i, s := range slots {
				if s >= 360 || i > 0 && s <= slots[i-1] || sums[i]-sums[i] != 0 {
					t.Fatalf("slot %d, sum %g", s, sums[i])
				}
			}
		}
		for _, k := range kinds {
			prev := int64(-1)
			_ = d.Buckets(b, k, 360, func(slot uint32, _ []byte) error {
				if int64(slot) <= prev || slot >= 360 {
					t.Fatalf("slot %d after %d", slot, prev)
				}
				prev = int64(slot)
				return nil
			})
		}
		_, _ = Count(b)
		out := merge(true, b, b)
		again := merge(true, out, []byte{})
		x, err := DamageOf(out)
		require.NoError(t, err)
		y, err := DamageOf(again)
		require.NoError(t, err)
		require.Equal(t, x.Operands+1, y.Operands)
	})
}
