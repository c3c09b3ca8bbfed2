package flush

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// notebook is a source of annotations as the server has it.
type notebook struct {
	list  []metric.Annotation
	saved uint64 // what was in the store at the start
}

func (n *notebook) note() {
	i := len(n.list)
	n.list = append(n.list, metric.Annotation{Time: metric.UnixSec(begin + i), Check: i%2 == 0, Title: fmt.Sprintf("title %d", i)})
}

func (n *notebook) since(seq uint64) ([]metric.Annotation, uint64) {
	return n.list[min(seq, uint64(len(n.list))):], uint64(len(n.list))
}

// keep replaces the rig's pump by one that flushes the notebook.
func (n *notebook) keep(r *rig) {
	r.t.Helper()
	require.NoError(r.t, r.pump.Close())
	r.pump = New(r.agg, r.store, Options{
		Clock: r.clock, Grace: 10 * time.Second, Interval: 10 * time.Second, Log: slog.New(slog.DiscardHandler), Annotations: n.since, Noted: n.saved,
	})
}

func (n *notebook) requireStored(r *rig, want int) {
	r.t.Helper()
	got, err := r.store.Annotations()
	require.NoError(r.t, err)
	require.Equal(r.t, n.list[:want], append([]metric.Annotation{}, got...))
}

func TestAnnotationsAreFlushedOnce(t *testing.T) {
	fs := vfs.NewMem()
	r := newRig(t, fs, 1)
	n := new(notebook)
	n.keep(r)
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	require.Zero(t, r.pump.Stats().Flushes, "there was nothing")

	n.note()
	n.note()
	require.NoError(t, r.pump.Flush(metric.MaxSec), "without sums")
	n.requireStored(r, 2)
	require.EqualValues(t, 1, r.pump.Stats().Flushes)
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	require.EqualValues(t, 1, r.pump.Stats().Flushes, "nothing is new")

	n.note()
	r.add(0, 3, 0)
	require.NoError(t, r.pump.Flush(metric.MaxSec), "with sums")
	n.requireStored(r, 3)
	r.add(0, 3, 0)
	require.NoError(t, r.pump.Flush(metric.MaxSec), "sums only")
	n.requireStored(r, 3)

	for _, sums := range []int{0, 2} {
		before := len(n.list)
		n.note()
		if sums > 0 {
			r.add(0, sums, 0)
		}
		r.pump.commitHook = func() error { return errDisk }
		for range 2 {
			require.ErrorIs(t, r.pump.Flush(metric.MaxSec), errDisk)
			n.requireStored(r, before)
		}
		r.pump.commitHook = nil
		n.note()
		require.NoError(t, r.pump.Flush(metric.MaxSec))
		n.requireStored(r, before+2)
	}
	r.requireTotals(8)

	n.note()
	r.close()
	// The next process has read what is stored, and begins behind it.
	r.open(fs, 1)
	n.requireStored(r, len(n.list))
	n.saved = uint64(len(n.list))
	n.keep(r)
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	n.note()
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	n.requireStored(r, len(n.list))
	r.requireTotals(8)
	r.close()
}
