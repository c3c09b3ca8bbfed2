package promql

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/query"
)

// TestLongWindowsAreReadInPieces: a window that ends just now is exact, and costs few buckets.
func TestLongWindowsAreReadInPieces(t *testing.T) {
	const day = 86400
	now := int64(base + 20*day + 5*3600 + 17*60 + 43)
	w := newWorld(now)
	sum := func(from, to int64) (n float64) { // of an event a second
		for sec := from; sec < to; sec++ {
			n += float64(sec % 7)
		}
		return n
	}
	s := w.store.of(metric.ID{Name: "m", Kind: metric.Counter}, tagset("a", "b"))
	for sec := now - 8*day; sec < now; sec++ {
		s.sums[metric.UnixSec(sec)] = float64(sec % 7)
	}
	x := w.executor()
	x.Limits = query.Limits{Samples: 20_000}
	e := New(x, clock.NewManual(time.Unix(now, 0)), slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		window int64
		from   int64
		says   string
	}{
		{600, now - 600, ""},
		{3599, now - 3599, ""},
		{20 * 3600, now - 20*3600, ""},
		{20*3600 + 1, now - 20*3600 - 1, ""},
		{5 * day, now - 5*day - 3, "only 10s buckets are left, so a window of 5d begins 3 s earlier"},
		{7 * day, now - 7*day - 3, "only 10s buckets are left, so a window of 7d begins 3 s earlier"},
	} {
		for form, want := range map[string]float64{
			"increase(m[%ds])": sum(c.from, now), "sum by (a) (increase(m[%ds]))": sum(c.from, now),
			"rate(m[%ds])": sum(c.from, now) / float64(now-c.from), "sum(rate(m[%ds]))": sum(c.from, now) / float64(now-c.from),
		} {
			text := fmt.Sprintf(form, c.window)
			res, err := e.Run(context.Background(), func() Query { q := at(float64(now) + 0.4); q.Text = text; return q }())
			require.NoError(t, err, text)
			v := res.value.(promql.Vector)
			require.Len(t, v, 1, text)
			require.InEpsilon(t, want, v[0].F, 1e-12, text)
			says := strings.Join(res.Warnings(), "\n")
			require.Equal(t, c.says == "", says == "", says)
			require.Contains(t, says, c.says)
		}
	}
}
