package engine

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// TestUnfinishedDeltaDoesNotCount lets the second record of a delta fail: the first is
// in the journal, and again in the delta that is written in its place.
func TestUnfinishedDeltaDoesNotCount(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.o.segmentBytes, w.o.deltaBody = 1, 1
	var countdown atomic.Int32
	w.fs = errorfs.Wrap(w.mem, injector(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && ofJournal(op) && strings.HasSuffix(op.Path, ".wal") && countdown.Add(-1) == 0 {
			return errDisk
		}
		return nil
	}))
	w.open()
	w.replay()
	for i := range 5 {
		w.amend(i+1, 0)
		w.clock.Advance(time.Second)
	}
	countdown.Store(2)
	require.ErrorContains(t, w.e.Pump.Tick(w.now()), errDisk.Error())
	require.Negative(t, countdown.Add(-1))
	appended := w.e.Journal.Stats().Appended
	w.tick()
	require.Greater(t, w.e.Journal.Stats().Appended, appended+2, "the delta is one record")
	w.crashAndLook()
	w.close()
}
