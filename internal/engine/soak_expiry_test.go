package engine

import (
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// policy keeps everything until the engine has a retention.
func (s *soak) policy() metric.Policy {
	all := metric.Retention{metric.MaxRetention, metric.MaxRetention, metric.MaxRetention, metric.MaxRetention}
	return metric.Policy{Default: all}
}

// expire runs one pass of the retention.
func (s *soak) expire() {
	s.oracle.pass(s.now())
}

// requireTotals compares what the store says it ever stored with what was sent.
func (s *soak) requireTotals() {
	t := s.e.Store.Totals()
	require.Equal(s.t, s.sent, s.oracle.events)
	require.Equal(s.t, s.oracle.events, t.Events)
	require.Equal(s.t, s.oracle.events, s.oracle.held+s.oracle.expired)
}
