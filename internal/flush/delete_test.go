package flush

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
)

var deleteM = metric.ID{Name: "m"}

// TestDeleteIsSeenAtOnce deletes a metric, of which some lies in the store and some in memory,
// when a query has read the one and not yet the other: it sees all, and the next one nothing.
func TestDeleteIsSeenAtOnce(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 2)
	r.add(0, 50, 0)
	r.clock.Advance(time.Second)
	require.NoError(t, r.pump.Flush(metric.SecOf(r.clock.Now())))
	r.add(1, 50, 0)
	x := query.Executor{Acquire: func() (*query.View, error) {
		v, err := r.pump.View()
		require.NoError(t, err)
		done := v.OpenDone
		v.OpenDone = func() {
			done()
			d, err := r.pump.Delete(context.Background(), deleteM, nil, false)
			require.NoError(t, err)
			require.Equal(t, 50, d.Series)
			require.EqualValues(t, 100, d.Events)
		}
		return v, nil
	}}
	res, err := x.Run(context.Background(), query.Request{Operand: query.Operand{Metric: "m", Fn: query.Count}, From: begin - 3600, To: begin + 7200, Step: 1, Limit: 10})
	require.NoError(t, err)
	require.EqualValues(t, 100, res.Total)
	r.requireTotals(0)
	r.close()
}

// TestDeleteMakesNewSeries: what comes after a deletion is a new series, in another store
// too.
func TestDeleteMakesNewSeries(t *testing.T) {
	fs := vfs.NewMem()
	r := newRig(t, fs, 1)
	r.add(0, 3, 0)
	m, err := matcher.New("k", matcher.Equal, "1")
	require.NoError(t, err)
	d, err := r.pump.Delete(context.Background(), deleteM, matcher.List{m}, true)
	require.NoError(t, err)
	require.Equal(t, 1, d.Series)
	r.requireTotals(3) // it was only asked
	d, err = r.pump.Delete(context.Background(), deleteM, matcher.List{m}, false)
	require.NoError(t, err)
	require.Equal(t, metric.ID{Name: "m", Kind: metric.Counter}, d.ID)
	require.False(t, d.Whole)
	require.Equal(t, 1.0, d.Units)
	r.requireTotals(2)
	d, err = r.pump.Delete(context.Background(), deleteM, matcher.List{m}, false)
	require.NoError(t, err)
	require.Zero(t, d.Series, "it is gone")
	r.add(0, 3, 0)
	r.requireTotals(5)
	d, err = r.pump.Delete(context.Background(), deleteM, nil, false)
	require.NoError(t, err)
	require.True(t, d.Whole)
	require.EqualValues(t, 6, d.Events, "also that of the series that went before")
	r.requireTotals(0)
	list, err := (&query.Executor{Acquire: func() (*query.View, error) { return r.pump.View() }}).Metrics()
	require.NoError(t, err)
	require.Empty(t, list)
	r.add(0, 2, 0)
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	r.requireTotals(2)
	r.close()
	r.open(fs, 1)
	r.requireTotals(2)
	r.close()
}

// TestDeleteWaitsForWhatCannotBeFlushed: nothing is deleted unless all that came is in the
// store.
func TestDeleteWaitsForWhatCannotBeFlushed(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	r.add(0, 3, 0)
	require.NoError(t, r.pump.Flush(metric.MaxSec))
	r.add(0, 3, 0)
	r.pump.commitHook = func() error { return errors.New("no") }
	_, err := r.pump.Delete(context.Background(), deleteM, nil, false)
	require.Error(t, err)
	r.requireTotals(6)
	r.pump.commitHook = nil
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m, err := matcher.New("k", matcher.Equal, "1")
	require.NoError(t, err)
	_, err = r.pump.Delete(ctx, deleteM, matcher.List{m}, false)
	require.ErrorIs(t, err, context.Canceled)
	r.requireTotals(6)
	r.pump.o.Hold = func() bool { return true }
	_, err = r.pump.Delete(context.Background(), deleteM, nil, false)
	require.ErrorIs(t, err, ErrHeld)
	r.pump.o.Hold = nil
	r.close()
}
