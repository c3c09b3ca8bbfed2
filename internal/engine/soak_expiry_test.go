package engine

import (
	"context"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// policy is the shape's: half of the metrics go by an override.
func (s *soak) policy() (p metric.Policy) {
	var err error
	p.Default, err = metric.ParseRetention(s.shape.keep)
	require.NoError(s.t, err)
	short, err := metric.ParseRetention(s.shape.short)
	require.NoError(s.t, err)
	for _, k := range metric.Kinds {
		p.Overrides = append(p.Overrides, metric.Override{Prefix: letters[k] + ".short", Retention: short})
	}
	return p
}

// expire runs one pass of the retention, and lets go of series without data.
func (s *soak) expire() {
	s.oracle.pass(s.now())
	require.NoError(s.t, s.e.Pump.Expire())
	_, err := s.e.Pump.Collect(context.Background())
	require.NoError(s.t, err)
	_, shows := s.e.Store.Retention()
	require.Equal(s.t, s.oracle.clock.shows, shows, "the retention's clock")
}

// requireTotals compares what the store says it ever stored with what was sent, and
// with what it holds and has let go.
func (s *soak) requireTotals() {
	t := s.e.Store.Totals()
	require.Equal(s.t, s.sent, s.oracle.events)
	require.Equal(s.t, s.oracle.events, s.oracle.held+s.oracle.expired, "the oracle's own")
	require.Equal(s.t, s.oracle.events, t.Events)
	require.Equal(s.t, s.oracle.expired, t.Expired)
	snap := s.e.Store.Snapshot()
	held, _, err := snap.Accounts()
	require.NoError(s.t, err)
	require.NoError(s.t, snap.Close())
	require.Equal(s.t, s.oracle.held, held)
}
