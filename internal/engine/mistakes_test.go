package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/metric"
)

// still returns a world in which nothing is left to chance.
func still(t *testing.T) *world {
	w := newWorld(t, func(int) int { return 0 })
	w.open()
	w.replay()
	return w
}

// counted is one event of the counter c0, of a batch or a datagram that arrives now.
func (w *world) counted(value int, back metric.UnixSec) (event, string) {
	at := metric.MilliOf(w.clock.Now())
	e := event{kind: metric.Counter, name: "c0", sec: at.Sec() - back, at: at, value: float64(value), weight: 1, stamped: true}
	return e, fmt.Sprintf("c0:%d|c|T%d", value, e.sec)
}

// amend feeds one event by datagram.
func (w *world) amend(value int, back metric.UnixSec) {
	e, line := w.counted(value, back)
	w.feed(0, line)
	w.fed[0] = append(w.fed[0], e)
}

// sendLine sends one event as a batch.
func (w *world) sendLine(sequence string, value int, back metric.UnixSec) {
	e, line := w.counted(value, back)
	w.send(&batch{
		q:    ingest.Request{Producer: "00000000-0000-4000-8000-000000000000", Sequence: sequence},
		body: line, sent: []event{e}, events: []event{e}, accepted: 1,
	})
}

// crashAndLook loses power, recovers, and looks, all of it several times.
func (w *world) crashAndLook() {
	for i, flush := range []bool{false, true, false} {
		w.crash(0, uint64(i))
		w.open()
		w.replay()
		w.requireExactly(w.sure)
		if flush {
			w.tick()
			w.flush()
			w.requireExactly(w.sure)
		}
	}
}

// barred is a file system of which the journal's next sync can be held back.
type barred struct {
	mu      sync.Mutex // guards hold
	hold    bool
	entered chan struct{}
	leave   chan struct{}
}

func (b *barred) arm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold = true
}

func (b *barred) look(op errorfs.Op) {
	b.mu.Lock()
	hold := b.hold && isJournal(op)
	b.hold = b.hold && !hold
	b.mu.Unlock()
	if hold {
		close(b.entered)
		<-b.leave
	}
}

// isJournal: it syncs a segment of the journal, and not that of series.
func isJournal(op errorfs.Op) bool {
	return isSync(op) && strings.Contains(op.Path, "journal/0")
}

// TestSlowSyncAndFlushes: a batch is in the journal, and its sync takes longer than
// grace and flush interval. Flushes come due meanwhile: none may say that it has what
// lies below the journal's end. After a crash a retried batch counts once, the first
// mistake that is easily made here.
func TestSlowSyncAndFlushes(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	bar := &barred{entered: make(chan struct{}), leave: make(chan struct{})}
	w.fs = onlyWrites(w.mem, bar.look)
	w.open()
	w.replay()
	w.sendLine("1", 1, 0)
	bar.arm()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		w.sendLine("2", 2, 0)
	}()
	<-bar.entered
	w.clock.Advance(25 * time.Second)
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		require.NoError(t, w.e.Pump.Tick(w.now()))
		require.NoError(t, w.e.Pump.Flush(w.now()-10))
	}()
	// One that does not wait is done in less, or else is found out below.
	select {
	case <-flushed:
		require.Fail(t, "a flush has passed a batch that is in the journal and not applied")
	case <-time.After(20 * time.Millisecond):
	}
	images := w.mem.CrashClone(crashAll(1))
	close(bar.leave)
	<-sent
	<-flushed
	w.requireExactly(w.sure)
	require.NotZero(t, w.e.Store.Cursor().Cut)
	require.EqualValues(t, 2, w.e.Store.Totals().Events, "the flush that had waited has both")
	w.crashAndLook()
	w.finish()

	// The same, with power lost while the sync was waiting: all of what was written to
	// the file is there.
	v := still(t)
	require.NoError(t, v.e.Close())
	v.mem, v.fs, v.clock = images, images, clock.NewManual(w.clock.Now())
	v.open()
	v.replay()
	v.sure = v.settle(w.sure[:1], [][]event{w.sure[1:]})
	v.crashAndLook()
	v.finish()
}

// TestAmendmentAfterTheDelta is the other mistake: what amends a sealed second comes
// by datagram while a flush is journaling what came before. The flush must leave it
// alone: it would be in the store, and in the journal behind the cut.
func TestAmendmentAfterTheDelta(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	var once sync.Once
	armed := make(chan struct{})
	var late event
	w.fs = onlyWrites(w.mem, func(op errorfs.Op) {
		select {
		case <-armed:
		default:
			return
		}
		if isJournal(op) {
			once.Do(func() {
				var line string
				late, line = w.counted(7, 100)
				w.feed(0, line)
			})
		}
	})
	w.open()
	w.replay()
	w.amend(1, 100)
	w.amend(2, 100)
	close(armed)
	w.keep(func(event) bool { return false }, func() error { return w.e.Pump.Flush(w.now() - 10) })
	require.NotZero(t, late.value, "nothing came meanwhile")
	require.EqualValues(t, 2, w.e.Store.Totals().Events)
	before := w.sure
	w.fed[0] = []event{late}
	w.requireExactly(w.all())

	// Lost before its delta, it is lost once.
	image := w.mem.CrashClone(crashAll(1))
	v := still(t)
	require.NoError(t, v.e.Close())
	v.mem, v.fs, v.sure = image, image, before
	v.open()
	v.replay()
	v.requireExactly(before)
	v.finish()

	// And counted once, if its delta was journaled.
	w.tick()
	require.Len(t, w.sure, 3)
	w.crashAndLook()
	w.finish()
}

// TestCloseWithTheFuture closes in order with events of seconds that have not begun,
// and of those that are not sealed: all are in the store, though not before the
// watermark. Neither what is flushed next nor crashes count them again.
func TestCloseWithTheFuture(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": 0, "a second later": time.Second, "once they are sealed": 30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			w := still(t)
			for i, back := range []metric.UnixSec{-10, -3, 0, 5} {
				w.amend(1+i, back)
				w.sendLine(fmt.Sprint(i+1), 10+i, back)
			}
			w.close()
			w.clock.Advance(wait)
			w.open()
			w.replay()
			require.Zero(t, w.e.Recovered().Events)
			w.requireExactly(w.sure)
			w.crashAndLook()
			w.amend(50, -10)
			w.sendLine("9", 60, -10)
			w.tick()
			w.flush()
			w.crashAndLook()
			w.close()
			w.open()
			w.replay()
			w.crashAndLook()
			w.finish()
		})
	}
}

// TestClockBackAfterRestart: the clock goes back by more than grace over a restart.
// The watermark stays, and what comes with times before it amends.
func TestClockBackAfterRestart(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean=", clean), func(t *testing.T) {
			w := still(t)
			w.sendLine("1", 1, 0)
			w.clock.Advance(40 * time.Second)
			w.amend(2, 0)
			w.sendLine("2", 3, 0)
			w.clock.Advance(time.Second)
			w.tick()
			w.flush()
			mark := w.e.Store.Cursor().Watermark
			require.Equal(t, w.now()-10, mark)
			if clean {
				w.close()
			} else {
				w.crash(0, 1)
			}
			w.clock = clock.NewManual(w.clock.Now().Add(-3 * time.Minute))
			w.open()
			w.replay()
			w.requireExactly(w.sure)
			w.amend(4, 0)
			w.sendLine("3", 5, 0)
			w.tick()
			w.flush()
			require.Equal(t, mark, w.e.Store.Cursor().Watermark)
			if open := w.e.Pump.Stats().Open; clean {
				require.Zero(t, open)
			} else {
				require.EqualValues(t, 2, open, "what is before the watermark was flushed")
			}
			w.requireExactly(w.all())
			w.crashAndLook()
			w.close()
			require.GreaterOrEqual(t, w.mark, mark)
			w.open()
			w.replay()
			w.crashAndLook()
			w.finish()
		})
	}
}

// TestSegmentsAreKeptAsLongAsNeeded: each record is a segment, and none is kept for
// longer than it must be. One with an event that is not sealed yet must be.
func TestSegmentsAreKeptAsLongAsNeeded(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.o.segmentBytes, w.o.JournalRetention, w.o.JournalSize = 1, 0, 0
	w.open()
	w.replay()
	most := 0
	for i := range 40 {
		w.sendLine(fmt.Sprint(i+1), 1+i, metric.UnixSec(-(i*7)%11))
		w.amend(1, metric.UnixSec(i*5%20))
		w.clock.Advance(time.Second)
		w.tick()
		w.flush()
		most = max(most, w.e.Journal.Stats().Segments)
		if i%8 == 7 {
			w.crashAndLook()
		}
	}
	w.clock.Advance(30 * time.Second)
	w.tick()
	w.flush()
	require.Greater(t, most, 10)
	require.Less(t, most, 60)
	require.LessOrEqual(t, w.e.Journal.Stats().Segments, 2, "all is in the store")
	w.finish()
}
