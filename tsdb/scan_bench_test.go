package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// BenchmarkScan reads an hour of 2,000 busy series from a warm store.
func BenchmarkScan(b *testing.B) {
	s, err := Open("data", Options{FS: vfs.NewMem(), Cache: 256 << 20})
	require.NoError(b, err)
	const begin = 1_700_006_400
	rng := rand.New(rand.NewPCG(1, 1))
	batch := s.NewBatch()
	for i := range 2000 {
		r, err := batch.Ref(seriesOf("m", metric.Tag{Key: "host", Value: fmt.Sprintf("web-%04d", i)}))
		require.NoError(b, err)
		sums := make([]metric.Sum, 3600)
		for j := range sums {
			sums[j] = metric.Sum{Sec: begin + metric.UnixSec(j), Events: 1, Value: float64(int(200 + 14*rng.NormFloat64()))}
		}
		require.NoError(b, batch.Add(r, sums))
	}
	require.NoError(b, batch.Commit())
	batch.Publish()
	require.NoError(b, s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
	sel := s.Select(seriesOf("m").ID, all)
	for _, t := range metric.Tiers {
		b.Run(t.String(), func(b *testing.B) {
			snap := s.Snapshot()
			slots := 0
			for b.Loop() {
				if err := snap.Scan(context.Background(), sel, t, begin, begin+3600, func(_ int, _ metric.UnixSec, _ []uint32, sums []float64) error {
					slots += len(sums)
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(slots)/b.Elapsed().Seconds()/1e6, "Mslots/s")
			require.NoError(b, snap.Close())
		})
	}
	require.NoError(b, s.Close())
}
