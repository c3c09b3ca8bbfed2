package tsdb

import (
	"context"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// wideDistribution has as many bins as a client can make: values of both signs, each in a bin
// of its own.
func wideDistribution() *bucket.Distribution {
	d := &bucket.Distribution{}
	for k := range 8000 {
		v := math.Pow(1.0203, float64(k))
		d.Observe(v, 1.5) // a weight that is not whole has the most bytes
		d.Observe(-v, 1.5)
	}
	return d
}

// TestLargeChunks: one series whose buckets of one hour are more than fits in a chunk of the
// arena, in 16 MiB, or in a Pebble batch of usual size; beside a small one of each side, in both forms
// of a commit, over few partitions and over many.
func TestLargeChunks(t *testing.T) {
	wide := wideDistribution()
	size := len(wide.Append(nil, 0))
	require.Greater(t, 260*size, 16<<20)
	for _, c := range []struct {
		name     string
		bulkRows int
		old      int // seconds that lie in partitions of their own
		seconds  int // of one hour
	}{{"log", 1000, 0, 260}, {"tables", 1, 0, 260}, {"wide tables", 1, 2 * narrow, 260}, {"two runs", 1, 0, 6}} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := open(t, fs)
			s.bulkRows = c.bulkRows
			id := metric.ID{Name: "m", Kind: metric.Distribution}
			dated := make([]bucket.Dated, 0, c.old+c.seconds)
			for i := range c.old {
				dated = append(dated, bucket.Dated{Sec: metric.UnixSec(1_600_000_000 + 7200*i), Events: 16_000, Bucket: wide})
			}
			for i := range c.seconds {
				dated = append(dated, bucket.Dated{Sec: metric.UnixSec(1_700_006_400 + i), Events: 16_000, Bucket: wide})
			}
			for range 2 { // the second time the parts meet chunks
				b := s.NewBatch()
				for _, value := range []string{"a", "b", "c"} {
					r, err := b.Ref(metric.Series{ID: id, Tags: metric.NewTagset([]metric.Tag{{Key: "k", Value: value}})})
					require.NoError(t, err)
					if value == "b" {
						require.NoError(t, b.AddBuckets(r, dated))
					} else {
						require.NoError(t, b.AddBuckets(r, dated[len(dated)-1:]))
					}
				}
				require.NoError(t, b.Commit())
				b.Publish()
			}
			check := func() {
				snap := s.Snapshot()
				defer func() { require.NoError(t, snap.Close()) }()
				sel := s.Select(id, all)
				require.Len(t, sel, 3)
				for _, tier := range metric.Tiers {
					buckets, counts := 0, [3]float64{}
					require.NoError(t, snap.ScanBuckets(context.Background(), sel, id.Kind, tier, 0, 2_000_000_000, func(i int, _ metric.UnixSec, b bucket.Bucket) error {
						counts[i] += b.(*bucket.Distribution).Count
						buckets++
						return nil
					}))
					n := 2 * wide.Count
					require.Equal(t, [3]float64{n, n * float64(len(dated)), n}, counts, "tier %s", tier)
					if tier == metric.Tier1s {
						require.Equal(t, len(dated)+2, buckets)
					}
				}
				require.Zero(t, s.Damaged())
				require.EqualValues(t, 2*16_000*(len(dated)+2), s.Totals().Events)
			}
			check()
			require.NoError(t, s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
			check()
			require.NoError(t, s.Close())
			s = open(t, fs)
			check()
			require.NoError(t, s.Close())
		})
	}
}

// TestLargeBatchesAreTables: Pebble has no batch of more than 4 GiB, however few its keys.
func TestLargeBatchesAreTables(t *testing.T) {
	s := open(t, vfs.NewMem())
	require.Less(t, s.bulkBytes, 4<<30)
	s.bulkBytes = 1 << 20
	wide := wideDistribution()
	for i, seconds := range []int{1, 20} {
		b := s.NewBatch()
		r, err := b.Ref(metric.Series{ID: metric.ID{Name: "m", Kind: metric.Distribution}})
		require.NoError(t, err)
		var dated []bucket.Dated
		for i := range seconds {
			dated = append(dated, bucket.Dated{Sec: metric.UnixSec(1_700_006_400 + i), Events: 1, Bucket: wide})
		}
		require.NoError(t, b.AddBuckets(r, dated))
		require.NoError(t, b.Commit())
		b.Publish()
		require.EqualValues(t, i, s.db.Metrics().Ingest.Count)
	}
	require.NoError(t, s.Close())
}
