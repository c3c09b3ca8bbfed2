package engine

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// TestPartOfDeltaFindsNoRoom: of a delta of many records the first one finds the disk
// full, and those behind it do not. The whole is written again; what the first attempt
// left must not count beside it.
func TestPartOfDeltaFindsNoRoom(t *testing.T) {
	const series = 20_000
	for first := range 3 { // record that finds no room
		w := newWorld(t, func(int) int { return 0 })
		w.o.Limits.Series, w.o.Limits.SeriesPerMetric, w.o.deltaBody = 1<<15, 1<<15, 2000
		var armed atomic.Int64
		w.fs = errorfs.Wrap(w.mem, injector(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "journal/0") && armed.Add(-1) == 0 {
				return syscall.ENOSPC
			}
			return nil
		}))
		w.open()
		w.replay()
		var lines strings.Builder
		for i := range series {
			fmt.Fprintf(&lines, "c0:1|c|#k:%d\n", i)
		}
		w.feed(0, lines.String())
		w.clock.Advance(time.Second)
		armed.Store(int64(2 + first)) // the header of the segment comes before
		require.ErrorIs(t, w.e.Pump.Tick(w.now()), syscall.ENOSPC)
		require.NoError(t, w.e.Pump.Tick(w.now()))
		w.crash(0, 1)
		w.open()
		require.NoError(t, w.e.Replay())
		require.EqualValues(t, series, w.e.Recovered().Events)
		require.NoError(t, w.e.Close())
	}
}
