package tsdb

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/bucket"
	"cairn/internal/chunk"
	"cairn/internal/metric"
)

func runOf(sums map[uint32]float64) []byte {
	run, prev := []byte{chunk.Run(metric.Counter)}, uint32(0)
	for _, s := range slices.Sorted(maps.Keys(sums)) {
		run = chunk.AppendSum(run, prev, s, sums[s])
		prev = s + 1
	}
	return run
}

func sumsOf(t require.TestingT, b []byte, limit uint32) map[uint32]float64 {
	slots, sums, err := chunk.NewDecoder().Sums(b, limit)
	require.NoError(t, err)
	out := map[uint32]float64{}
	for i, s := range slots {
		out[s] = sums[i]
	}
	return out
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
		m, err := newMerger(nil, nil).Merge(key, operands[0])
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
			run := map[uint32]float64{}
			for s := range uint32(60) {
				if rapid.Bool().Draw(t, "there") {
					run[s] = float64(rapid.IntRange(-3, 3).Draw(t, "v"))
					want[s] += run[s]
				}
			}
			operands = append(operands, runOf(run))
		}
		cut := rapid.IntRange(1, len(operands)).Draw(t, "cut")
		parts := [][]byte{finish(t, operands[:cut])}
		if cut < len(operands) {
			parts = append(parts, finish(t, operands[cut:]))
		}
		parts = rapid.Permutation(parts).Draw(t, "parts")
		require.Equal(t, want, sumsOf(t, finish(t, parts), 60))
		require.Equal(t, finish(t, rapid.Permutation(operands).Draw(t, "order")), finish(t, parts))
	})
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
