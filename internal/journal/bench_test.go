package journal

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
)

// BenchmarkCommit appends batches of the size that 500 events have, from 64
// goroutines, each of which waits for its own: synced records a second of this disk.
func BenchmarkCommit(b *testing.B) {
	const clients = 64
	l, err := Open(b.TempDir(), Options{FS: vfs.Default, Clock: clock.NewSystem(), Sync: true})
	require.NoError(b, err)
	body := make([]byte, 16<<10)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	b.SetBytes(int64(len(body)))
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			r := Record{Kind: 1, Body: body, Events: 500}
			for left.Add(-1) >= 0 {
				if err := l.Append(&r).Wait(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	s := l.Stats()
	b.ReportMetric(float64(s.Appended)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(s.Appended)/float64(s.Syncs), "records/sync")
	b.ReportMetric(float64(s.SyncQuantile(0.99).Microseconds())/1000, "p99-sync-ms")
	require.NoError(b, l.Close())
}
