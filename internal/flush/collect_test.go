package flush

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/metric"
	"cairn/tsdb"
)

// hollow makes the store know the series of a handle without a chunk, as after its
// last partition was deleted, and the pump its ref.
func (r *rig) hollow(h agg.Handle) tsdb.Ref {
	r.t.Helper()
	b := r.store.NewBatch()
	ref, err := b.Ref(r.agg.Registry.Series(h))
	require.NoError(r.t, err)
	require.NoError(r.t, b.Commit())
	b.Publish()
	for int(h) >= len(r.pump.refs) {
		r.pump.refs = append(r.pump.refs, tsdb.Ref{})
	}
	r.pump.refs[h] = ref
	r.pump.view.Lock()
	r.pump.places.set(h, ref)
	r.pump.view.Unlock()
	return ref
}

// TestCollectForgetsRefs: a series that was removed and gets an event is a new one,
// and one that gets an event between scan and removal stays.
func TestCollectForgetsRefs(t *testing.T) {
	for _, meanwhile := range []bool{false, true} {
		r := newRig(t, vfs.NewMem(), 1)
		r.add(0, 1, 0)
		old := r.hollow(0)
		want := 1
		if meanwhile {
			r.pump.collectHook = func() error { return r.pump.Flush(metric.MaxSec) }
			want = 0
		}
		n, err := r.pump.Collect(context.Background())
		require.NoError(t, err)
		require.Equal(t, want, n)
		now, known := r.store.Lookup(r.agg.Registry.Series(0))
		require.Equal(t, meanwhile, known)
		if meanwhile {
			require.Equal(t, old, now)
		} else {
			require.Equal(t, tsdb.Ref{}, r.pump.refs[0])
		}
		require.NoError(t, r.pump.Flush(metric.MaxSec))
		r.requireTotals(1)
		_, known = r.store.Lookup(r.agg.Registry.Series(0))
		require.True(t, known)
		r.close()
	}
}

// TestAnEmptiedTierIsCollected: after a pass that took a partition of a coarsest tier, the
// loop looks once for series without data, and Close waits for that.
func TestAnEmptiedTierIsCollected(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	r.add(0, 1, 0)
	r.hollow(0)
	known := func() bool {
		_, ok := r.store.Lookup(r.agg.Registry.Series(0))
		return ok
	}
	require.True(t, known())
	r.pump.collect(context.Background())
	r.pump.expiry.collects.Wait()
	require.True(t, known(), "nothing was deleted")
	r.pump.expiry.emptied = true
	r.pump.collect(context.Background())
	r.pump.expiry.collects.Wait()
	require.False(t, known())
	require.False(t, r.pump.expiry.emptied)
	r.close()
}

// TestWhatWasCollectedIsFoundInMemory: an event of a series that was removed from the store's
// index is seen before it is flushed.
func TestWhatWasCollectedIsFoundInMemory(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	r.add(0, 2, 0)
	r.hollow(0)
	r.hollow(1)
	r.requireTotals(2)
	n, err := r.pump.Collect(context.Background())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	r.requireTotals(2)
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	r.add(0, 2, 0)
	r.requireTotals(4)
	r.close()
}
