package engine

import (
	"context"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/reconcile"
)

// requireEqualReport fails unless the running engine, and what a power loss would leave
// of it, verify as equal. It returns the former's report.
func (w *world) requireEqualReport() *reconcile.Report {
	copied := w.mem.CrashClone(vfs.CrashCloneCfg{})
	r, err := VerifyDir(context.Background(), copied, "data", w.clock, slog.New(slog.DiscardHandler))
	require.NoError(w.t, err)
	require.True(w.t, r.Equal, "of the copy: %+v", r)
	if !w.ready {
		_, err := w.e.Verify(context.Background())
		require.ErrorIs(w.t, err, ErrNotNow)
		return r
	}
	r, err = w.e.Verify(context.Background())
	require.NoError(w.t, err)
	require.True(w.t, r.Equal, "%+v", r)
	return r
}

// TestWhateverHappensVerifiesAsEqual does with an engine whatever can be done to it.
func TestWhateverHappensVerifiesAsEqual(t *testing.T) {
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
		w.open()
		w.replay()
		actions := w.actions(t)
		actions[""] = func(*rapid.T) {
			if w.pick(8) == 0 {
				compared += int(w.requireEqualReport().Checked.Buckets)
			}
		}
		t.Repeat(actions)
		compared += int(w.requireEqualReport().Checked.Buckets)
		require.NoError(t, w.e.Close())
		r, err := VerifyDir(context.Background(), w.fs, "data", w.clock, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.True(t, r.Equal, "%+v", r)
		if w.ready {
			require.Zero(t, r.Pending, "everything is stored")
		}
	})
	require.NotZero(t, compared)
}
