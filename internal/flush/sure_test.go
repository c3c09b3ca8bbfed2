package flush

import (
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// TestAStopOfAMonthIsMadeUpFor: a clock that others confirm for some hours, and they only, is
// followed fast; each pass at which they do not begins the hours anew.
func TestAStopOfAMonthIsMadeUpFor(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	defer r.close()
	const day = 24 * time.Hour
	behind := func() time.Duration {
		_, clock := r.store.Retention()
		return r.clock.Now().Sub(clock.Time())
	}
	require.NoError(t, r.pump.Expire())
	require.Zero(t, behind())
	require.NoError(t, r.pump.Close())

	r.clock.Advance(30 * day)
	sure := false
	r.pump = New(r.agg, r.store, Options{Clock: r.clock, Grace: 10 * time.Second, Interval: 10 * time.Second, Log: slog.New(slog.DiscardHandler), Sure: func() bool { return sure }})
	passes := func(n int) {
		for range n {
			require.NoError(t, r.pump.Expire())
			r.clock.Advance(time.Hour)
		}
		require.NoError(t, r.pump.Expire())
	}
	passes(48)
	require.Equal(t, 28*day, behind(), "nobody confirms it")
	sure = true
	passes(3)
	require.Equal(t, 28*day-3*time.Hour, behind(), "it has been confirmed for three hours only")
	passes(2)
	require.Equal(t, 28*day-3*time.Hour-2*23*time.Hour, behind())
	sure = false
	passes(1)
	sure = true
	passes(3)
	require.Equal(t, 28*day-7*time.Hour-2*23*time.Hour, behind(), "the hours begin anew")
	passes(28)
	require.Zero(t, behind())
	_, clock := r.store.Retention()
	require.Equal(t, metric.SecOf(r.clock.Now()), clock)
}
