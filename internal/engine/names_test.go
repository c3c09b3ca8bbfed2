package engine

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/journal"
)

const seriesDir = "data/journal/series"

// TestSeriesAreNotNamed: what comes by datagram cannot be told without the journal of
// series. The loss is told, batches count, and the engine starts.
func TestSeriesAreNotNamed(t *testing.T) {
	w := still(t)
	w.amend(1, 0)
	w.amend(2, 1)
	w.sendLine("1", 5, 0)
	batch := slices.Clone(w.sure)
	w.clock.Advance(time.Second)
	w.tick()
	w.crash(0, 1)
	require.NoError(t, w.mem.RemoveAll(seriesDir))
	w.open()
	require.NoError(t, w.e.Replay())
	require.Len(t, w.e.Recovered().Damaged, 1)
	require.Contains(t, w.e.Recovered().Damaged[0], "2 events that came by datagram are lost")
	require.EqualValues(t, 1, w.e.Recovered().Events)
	w.requireExactly(batch)
	require.NoError(t, w.e.Close())
}

// TestDamagedSeriesAreTold: and only those of runs that something is needed of are read.
func TestDamagedSeriesAreTold(t *testing.T) {
	for name, flush := range map[string]bool{"needed": false, "flushed": true} {
		t.Run(name, func(t *testing.T) {
			w := still(t)
			w.amend(1, 0)
			w.clock.Advance(40 * time.Second)
			w.tick()
			if flush {
				w.flush()
			}
			w.crash(0, 1)
			files, err := w.mem.List(seriesDir)
			require.NoError(t, err)
			require.Len(t, files, 1)
			w.open()
			w.replay()
			w.amend(2, 0)
			w.clock.Advance(time.Second)
			w.tick()
			w.crash(0, 1)
			f, err := w.mem.OpenReadWrite(path.Join(seriesDir, files[0]), vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte("damage"), 64+56+1)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			w.open()
			require.NoError(t, w.e.Replay())
			if flush {
				require.Empty(t, w.e.Recovered().Damaged)
				w.requireExactly(w.sure)
			} else {
				require.Len(t, w.e.Recovered().Damaged, 2, "the place, and what it costs")
				require.EqualValues(t, 1, w.e.Recovered().Events)
			}
			require.NoError(t, w.e.Close())
		})
	}
}

// TestSeriesGoOn: new series of which some found no room are not written again.
func TestSeriesGoOn(t *testing.T) {
	const series = 12_000 // three records
	w := newWorld(t, func(int) int { return 0 })
	w.o.Limits.Series, w.o.Limits.SeriesPerMetric = 1<<17, 1<<17
	var armed atomic.Int64
	w.fs = errorfs.Wrap(w.mem, injector(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "journal/series/") && armed.Add(-1) == 0 {
			return syscall.ENOSPC
		}
		return nil
	}))
	w.open()
	w.replay()
	var lines strings.Builder
	for i := range series {
		fmt.Fprintf(&lines, "c0:1|c|#k:%0200d\n", i)
	}
	w.feed(0, lines.String())
	w.clock.Advance(time.Second)
	for {
		armed.Store(3) // behind a header and what is synced with the first record
		err := w.e.Pump.Tick(w.now())
		if err == nil {
			break
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
	}
	w.crash(0, 1)
	first := 0
	_, err := journal.Read(w.mem, seriesDir, 0, 0, func(_ journal.Pos, rec *journal.Record) error {
		if rec.Head[len(rec.Head)-1] == 0 { // handle of its first series
			first++
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 1, first, "records with the first series")
	w.open()
	require.NoError(t, w.e.Replay())
	require.EqualValues(t, series, w.e.Recovered().Events)
	require.Empty(t, w.e.Recovered().Damaged)
	require.NoError(t, w.e.Close())
}
