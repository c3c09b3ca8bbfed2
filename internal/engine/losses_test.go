package engine

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/tally"
)

// TestLossIsKept kills a process, and the next one before it has flushed anything: what
// the first had lost is told once, and stays told.
func TestLossIsKept(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.fs, w.o.Dir = nil, t.TempDir() // tallies are on the real disk only
	w.clock.Advance(time.Second)
	f, err := tally.Create(w.o.Dir, 7, 2)
	require.NoError(t, err)
	f.Cell(0).Accepted, f.Cell(0).Kept = 12, 5
	f.Cell(1).Accepted, f.Cell(1).Kept = 3, 3
	at7 := w.o.Dir
	// The tally of a process that was killed stays where it is: Close is never called.
	w.open()
	w.replay()
	require.EqualValues(t, 7, w.e.Recovered().Lost)
	for range 3 {
		killed := t.TempDir()
		require.NoError(t, os.CopyFS(killed, os.DirFS(at7)))
		old := w.e
		w.o.Dir, at7 = killed, killed
		w.open()
		w.replay()
		require.EqualValues(t, 7, w.e.lost.events, "a kill made the loss unknown, or told it twice")
		require.NoError(t, old.Close())
	}
	left, err := os.ReadDir(w.o.Dir)
	require.NoError(t, err)
	tallies := 0
	for _, e := range left {
		if strings.HasSuffix(e.Name(), ".tally") {
			tallies++
		}
	}
	require.Equal(t, 1, tallies, "of the run that is going on")
	w.datagram()
	w.clock.Advance(30 * time.Second)
	w.tick()
	w.flush()
	require.NoError(t, w.e.Close())
	w.open()
	w.replay()
	require.EqualValues(t, 7, w.e.Store.Totals().Lost)
	require.NoError(t, w.e.Close())
	require.ErrorIs(t, f.Close(), os.ErrNotExist)
}

// TestLossWithoutDeltas: where datagrams are not journaled, what was flushed is not lost
// when the process is killed, and what was not is, even if the process ends in order
// before it has replayed.
func TestLossWithoutDeltas(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.fs, w.o.Dir, w.o.JournalUDP = nil, t.TempDir(), false
	w.open()
	w.replay()
	w.feed(0, "c0:1|c\nc0:1|c\nc1:1|c")
	w.clock.Advance(20 * time.Second)
	require.NoError(t, w.e.Pump.Flush(w.now()-10))
	require.EqualValues(t, 3, w.e.Store.Totals().Events)
	w.feed(1, "c0:1|c\nc1:1|c")
	w.kill()
	w.open()
	w.feed(0, "c0:1|c")
	require.NoError(t, w.e.Close())
	w.open()
	require.NoError(t, w.e.Replay())
	require.EqualValues(t, 3, w.e.Lost())
	require.EqualValues(t, 3, w.e.Store.Totals().Events)
	require.NoError(t, w.e.Close())
	w.open()
	require.NoError(t, w.e.Replay())
	require.EqualValues(t, 3, w.e.Lost(), "told once")
	require.NoError(t, w.e.Close())
}

// kill leaves the data dir as a kill does, as far as tallies tell of it.
func (w *world) kill() {
	e := w.e
	e.tallies = nil // stays mapped, and there
	e.Batches.Close()
	e.disk.close()
	e.replaying.Store(true) // nothing is flushed
	require.NoError(w.t, e.Pump.Close())
	require.NoError(w.t, e.Journal.Close())
	require.NoError(w.t, e.series.Close())
	require.NoError(w.t, e.Store.Close())
}
