package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/journal"
)

// TestRestartOnShortDisk: what is kept of the journals for reconciliation goes if the
// disk is short, also after a start, before anything was flushed.
func TestRestartOnShortDisk(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.o.segmentBytes = 1
	w.open()
	w.replay()
	for i := range 5 {
		w.sendLine(fmt.Sprint(i+1), 1, 0)
		w.amend(1, 0)
		w.clock.Advance(20 * time.Second)
		w.tick()
	}
	w.flush()
	w.amend(2, 0)
	w.sendLine("6", 2, 0)
	w.clock.Advance(time.Second)
	w.tick()
	w.crash(0, 1)
	w.open()
	w.e.spare()
	w.replay()
	w.amend(3, 0)
	w.clock.Advance(time.Second)
	w.tick()
	before, needed := w.e.Journal.Stats(), w.e.Journal.From(0)-w.e.Journal.From(journal.Pos(w.e.Store.Cursor().Oldest))
	require.Greater(t, before.Segments, 6)
	require.Positive(t, needed)
	w.e.spare()
	require.Equal(t, before.Bytes-needed, w.e.Journal.Stats().Bytes, "all that is not needed, and nothing else")
	w.crashAndLook()
	w.finish()
}
