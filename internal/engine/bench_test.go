package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// BenchmarkReplay replays ten deltas of 100,000 series that all count in each second.
func BenchmarkReplay(b *testing.B) {
	const series, seconds = 100_000, 10
	w := newWorld(b, func(int) int { return 0 })
	w.o.Limits.Series, w.o.Limits.SeriesPerMetric = 2*series, 2*series
	w.open()
	w.replay()
	var lines strings.Builder
	for i := range series {
		fmt.Fprintf(&lines, "c0:1|c|#host:host-%06d,service:checkout,env:production\n", i)
	}
	for range seconds {
		w.feed(0, lines.String())
		w.clock.Advance(time.Second)
		require.NoError(b, w.e.Pump.Tick(w.now()))
	}
	left := w.mem.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(1, 0))})
	require.NoError(b, w.e.Close())
	for b.Loop() {
		b.StopTimer()
		w.fs = left.CrashClone(vfs.CrashCloneCfg{RNG: rand.New(rand.NewPCG(1, 0))})
		w.open()
		b.StartTimer()
		require.NoError(b, w.e.Replay())
		b.StopTimer()
		require.EqualValues(b, series*seconds, w.e.Recovered().Events)
		w.e.replaying.Store(true) // nothing need be flushed
		require.NoError(b, w.e.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/series/seconds, "ns/sum")
}
