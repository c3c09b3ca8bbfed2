package tsdb

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

type slotSum struct {
	slot uint32
	v    float64
}

func decodeAll(t require.TestingT, b []byte, limit uint32) []slotSum {
	var out []slotSum
	require.NoError(t, decodeRun(b, limit, func(slot uint32, v float64) { out = append(out, slotSum{slot, v}) }))
	return out
}

func anyValue() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(-5, 500).Draw(t, "small")) }),
		rapid.Float64Range(-metric.MaxValue, metric.MaxValue),
		rapid.SampledFrom([]float64{0, 0.1, -0.5, maxWhole, -maxWhole, maxWhole + 2, math.SmallestNonzeroFloat64}),
	)
}

func TestRunRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.SliceOfNDistinct(rapid.Uint32Range(0, maxSlots-1), 0, 50, rapid.ID).Draw(t, "slots")
		byTime := map[uint32]float64{}
		for _, s := range slots {
			byTime[s] = anyValue().Draw(t, "v")
		}
		run, prev := []byte{formatRun}, uint32(0)
		var want []slotSum
		for s := range uint32(maxSlots) {
			if v, ok := byTime[s]; ok {
				run = appendRunSlot(run, prev, s, v)
				prev = s + 1
				want = append(want, slotSum{s, v})
			}
		}
		require.Equal(t, want, decodeAll(t, run, maxSlots))
		if len(want) > 0 {
			require.Error(t, decodeRun(run, want[len(want)-1].slot, func(uint32, float64) {}), "a slot beyond the partition")
		}
	})
}

// FuzzRun decodes any bytes: no panic, slots ascending and in range, sums finite,
// and what was decoded encodes to something that decodes to the same.
func FuzzRun(f *testing.F) {
	f.Add([]byte{formatRun})
	f.Add([]byte{formatRun, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f})
	f.Add([]byte{formatRun, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0})
	f.Add([]byte{0x12, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		run, prev := []byte{formatRun}, uint32(0)
		var got []slotSum
		err := decodeRun(b, 360, func(slot uint32, v float64) {
			if slot < prev || slot >= 360 || v-v != 0 {
				t.Fatalf("slot %d after %d, sum %g", slot, prev, v)
			}
			run = appendRunSlot(run, prev, slot, v)
			prev = slot + 1
			got = append(got, slotSum{slot, v})
		})
		if err == nil {
			require.Equal(t, got, decodeAll(t, run, 360))
		}
	})
}

// TestGoldenRun holds the bytes that docs/format.md draws.
func TestGoldenRun(t *testing.T) {
	run := appendRunSlot([]byte{formatRun}, 0, 5, 3)
	run = appendRunSlot(run, 6, 6, -1)
	run = appendRunSlot(run, 7, 107, 1.5)
	require.Equal(t, []byte{0x11, 0x0a, 0x06, 0x00, 0x01, 0xc9, 0x01, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, run)
}

// TestGoldenBuckets holds the bytes that docs/format.md draws, and that the two other
// kinds are framed alike.
func TestGoldenBuckets(t *testing.T) {
	start := metric.Tier10s.Start(5000)
	reading := func(sec metric.UnixSec, late metric.UnixMilli, v float64) bucket.Dated {
		g := bucket.New(metric.Gauge).(*bucket.Gauge)
		g.Observe(v, sec, sec.Milli()+late)
		return bucket.Dated{Sec: sec, Events: 1, Bucket: g}
	}
	fold := func(dated ...bucket.Dated) (out []byte) {
		var f bucketFolder
		require.NoError(t, f.fold(metric.Tier10s, dated, func(partition uint32, run []byte) error {
			require.EqualValues(t, 5000, partition)
			out = append(out, run...)
			return nil
		}))
		return out
	}
	require.Equal(t, []byte{0x12, 0x05, 0x04, 0x06, 0xc8, 0x01, 0x50, 0x64, 0x03, 0x00, 0x00, 0x04},
		fold(reading(start+53, 200, 20), reading(start+1060, 0, 1)))

	d := bucket.New(metric.Distribution).(*bucket.Distribution)
	d.Observe(250, 2)
	require.Equal(t, []byte{0x13, 0x05, 0x04, 0x00, 0x08, 0xe8, 0x07}, fold(bucket.Dated{Sec: start + 50, Events: 1, Bucket: d}))
	set := bucket.New(metric.Set).(*bucket.Set)
	set.Insert(5<<39 | 1<<38)
	require.Equal(t, []byte{0x14, 0x05, 0x03, 0x00, 0x01, 0x05}, fold(bucket.Dated{Sec: start + 50, Events: 1, Bucket: set}))
}

// TestMergeIsOrderless splits sums over operands and merges them as compactions
// may: in any grouping and any order.
func TestMergeIsOrderless(t *testing.T) {
	key := appendChunkKey(nil, metric.Tier10s, 7, 1, 1)
	finish := func(t *rapid.T, operands [][]byte) []byte {
		m, err := merger.Merge(key, operands[0])
		require.NoError(t, err)
		for i, o := range operands[1:] {
			if i%2 == 0 {
				err = m.MergeNewer(o)
			} else {
				err = m.MergeOlder(o)
			}
			require.NoError(t, err)
		}
		out, closer, err := m.Finish(true)
		require.NoError(t, err)
		out = append([]byte(nil), out...)
		require.NoError(t, closer.Close())
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		want := map[uint32]float64{}
		var operands [][]byte
		for range rapid.IntRange(1, 8).Draw(t, "operands") {
			run, prev := []byte{formatRun}, uint32(0)
			for s := range uint32(20) {
				if rapid.Bool().Draw(t, "there") {
					v := float64(rapid.IntRange(-3, 3).Draw(t, "v"))
					want[s] += v
					run = appendRunSlot(run, prev, s, v)
					prev = s + 1
				}
			}
			operands = append(operands, run)
		}
		cut := rapid.IntRange(1, len(operands)).Draw(t, "cut")
		parts := [][]byte{finish(t, operands[:cut])}
		if cut < len(operands) {
			parts = append(parts, finish(t, operands[cut:]))
		}
		parts = rapid.Permutation(parts).Draw(t, "parts")
		got := map[uint32]float64{}
		for _, s := range decodeAll(t, finish(t, parts), 20) {
			got[s.slot] = s.v
		}
		require.Equal(t, want, got)
		require.Equal(t, finish(t, rapid.Permutation(operands).Draw(t, "order")), finish(t, parts))
	})
}

func TestMergeReportsWhatIsWrong(t *testing.T) {
	_, err := merger.Merge([]byte("x"), []byte{formatRun})
	require.ErrorContains(t, err, "no chunk's")
	key := appendChunkKey(nil, metric.Tier1h, 7, 1, 1)
	_, err = merger.Merge(key, []byte{0x77})
	require.ErrorContains(t, err, "offset 0 has format 0x77")
}

func BenchmarkFold(b *testing.B) {
	sums := make([]metric.Sum, 10)
	for i := range sums {
		sums[i] = metric.Sum{Sec: metric.UnixSec(1_700_000_000 + i), Events: 1, Value: float64(100 + i)}
	}
	var scratch []byte
	b.ReportAllocs()
	for b.Loop() {
		for _, t := range metric.Tiers {
			scratch, _ = foldRuns(t, sums, scratch, func(uint32, []byte) error { return nil })
		}
	}
}
