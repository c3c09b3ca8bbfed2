package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/clock"
)

// TestEngineAgainstOracle does with an engine whatever can be done to it, in any
// order, and compares what it answers with what a plain list of events says. For a
// longer run: -rapid.checks=5000.
func TestEngineAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
		ended := false
		t.Cleanup(func() {
			defer func() { _ = recover() }() // it may have failed after it was closed
			if !ended {                      // what was drawn is of no use
				_ = w.e.Close()
			}
		})
		w.open()
		w.replay()
		t.Repeat(w.actions(t))
		w.finish()
		ended = true
	})
}

func (w *world) actions(t *rapid.T) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"datagram": func(*rapid.T) { w.datagram() },
		"another":  func(*rapid.T) { w.datagram() },
		"batch": func(t *rapid.T) {
			if !w.ready {
				t.Skip("it waits for the replay")
			}
			w.send(w.newBatch())
		},
		"again": func(t *rapid.T) {
			if !w.ready || len(w.batches) == 0 {
				t.Skip("there is none")
			}
			w.again(w.batches[w.pick(len(w.batches))])
		},
		"tick":   func(*rapid.T) { w.tick() },
		"flush":  func(*rapid.T) { w.tick(); w.flush() },
		"second": func(*rapid.T) { w.clock.Advance(time.Second); w.tick() },
		"later": func(*rapid.T) {
			w.clock.Advance([]time.Duration{300 * time.Millisecond, 3 * time.Second, 11 * time.Second, 100 * time.Second}[w.pick(4)])
			w.tick()
		},
		"delete": func(t *rapid.T) {
			if !w.ready {
				t.Skip("it waits for the replay")
			}
			w.delete()
		},
		"replay": func(t *rapid.T) {
			if w.ready {
				t.Skip("it is done")
			}
			w.replay()
		},
		"restart": func(*rapid.T) {
			w.close()
			w.restart()
		},
		"crash": func(*rapid.T) {
			w.crash([]int{0, 50, 100}[w.pick(3)], uint64(w.pick(1000)))
			w.restart()
		},
		"": func(*rapid.T) {
			if w.ready && (w.fresh || w.pick(4) == 0) {
				w.fresh = false
				w.requireExactly(w.all())
			}
		},
	}
}

// restart opens the engine again, with a clock that may have been set.
func (w *world) restart() {
	step := []time.Duration{0, 0, time.Millisecond, time.Second, 15 * time.Second, -time.Second, -7 * time.Second, -90 * time.Second}[w.pick(8)]
	w.clock = clock.NewManual(w.clock.Now().Add(step))
	w.open()
	require.GreaterOrEqual(w.t, w.e.Store.Cursor().Watermark, w.mark, "the watermark went back")
	if w.pick(4) > 0 {
		w.replay()
	}
}

// finish looks at what is left after the end.
func (w *world) finish() {
	if !w.ready {
		w.replay()
	}
	for _, b := range w.batches {
		w.again(b)
	}
	w.close()
	require.EqualValues(w.t, len(w.sure)+w.gone, w.e.Store.Totals().Events)
	w.open()
	w.replay()
	require.Zero(w.t, w.e.Recovered().Events)
	w.requireExactly(w.sure)
	w.close()
}
