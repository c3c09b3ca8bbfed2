package flush

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
	"cairn/query"
)

// TestQueriesGoByTheRetention counts an event an hour for ten days, flushed or not, and
// asks for parts of them: of what a tier no longer holds a coarser one tells.
func TestQueriesGoByTheRetention(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	start := metric.UnixSec(begin)
	for range 240 {
		r.add(0, 1, metric.SecOf(r.clock.Now()))
		r.clock.Advance(time.Hour)
		require.NoError(t, r.pump.Flush(metric.SecOf(r.clock.Now())-60))
		require.NoError(t, r.pump.Expire())
	}
	r.add(0, 1, metric.SecOf(r.clock.Now())) // this one is open
	now := metric.SecOf(r.clock.Now())
	x := query.Executor{Acquire: r.pump.View}
	for _, c := range []struct {
		back  metric.UnixSec
		step  int64
		tier  metric.Tier
		taken int64
	}{
		{20 * 3600, 1, metric.Tier1s, 1}, {20 * 3600, 10, metric.Tier10s, 10}, {50 * 3600, 7, metric.Tier10s, 10}, {50 * 3600, 60, metric.Tier1m, 60},
		{200 * 3600, 10, metric.Tier1m, 60}, {240 * 3600, 3600, metric.Tier1h, 3600},
	} {
		// Not all of it, so that the points are not too many.
		from, to := now-c.back, now-c.back+10_000
		want := 0.0
		res, err := x.Run(context.Background(), query.Request{Operand: query.Operand{Metric: "m", Fn: query.Count}, From: from, To: to, Step: c.step, Limit: 10})
		require.NoError(t, err)
		for sec := start; sec <= now; sec += 3600 {
			if sec >= res.From && sec < res.To {
				want++
			}
		}
		name := fmt.Sprintf("%d s back, step %d", c.back, c.step)
		require.Equal(t, c.tier, res.Tier, name)
		require.Equal(t, c.taken, res.Step, name)
		require.Equal(t, want, res.Total, name)
		require.Positive(t, want, name)
		require.Len(t, res.Warnings, map[bool]int{false: 0, true: 1}[c.taken != c.step], name)
	}
	r.close()
}
