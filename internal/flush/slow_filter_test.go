package flush

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
	"cairn/query/promql"
)

// watching is a context that counts how often it is asked, which is before each value that an
// expression is tried on, and how often while flushes wait.
type watching struct {
	context.Context
	p           *Pump
	asked, held int
}

func (w *watching) Err() error {
	w.asked++
	if w.p.view.TryLock() {
		w.p.view.Unlock()
	} else {
		w.held++
	}
	return nil
}

// TestSlowFiltersDoNotStopFlushes: an expression that takes milliseconds a value is tried on
// stored ones while no view is open, so that a flush, and with it batches, need not wait.
func TestSlowFiltersDoNotStopFlushes(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	defer r.close()
	const n = 2000
	r.add(0, n, 0)
	f, err := matcher.New("k", matcher.Regexp, "(?:.?){990}[0-4]")
	require.NoError(t, err)
	run := func(ctx context.Context, match matcher.List) (*query.Result, error) {
		x := query.Executor{Acquire: r.pump.View}
		return x.Run(ctx, query.Request{Operand: query.Operand{Metric: "m", Fn: query.Count, Filters: match}, From: begin - 60, To: begin + 60, Step: 10, Limit: 10})
	}
	r.clock.Advance(time.Minute)
	require.NoError(t, r.pump.Flush(begin+60))
	w := &watching{Context: context.Background(), p: r.pump}
	res, err := run(w, matcher.List{f})
	require.NoError(t, err)
	require.EqualValues(t, n/2, res.Total)
	t.Logf("asked %d times, %d of them while flushes wait", w.asked, w.held)
	require.Greater(t, w.asked, n)
	require.Less(t, w.held, n/4)
	w = &watching{Context: context.Background(), p: r.pump}
	_, err = run(w, matcher.List{f})
	require.NoError(t, err)
	require.Less(t, w.asked, 50, "verdicts are remembered")
}

// TestSlowFiltersAndManyNewSeries: of what the store's index does not know yet no verdict is
// remembered, and the query is refused before flushes have waited for long.
func TestSlowFiltersAndManyNewSeries(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	defer r.close()
	r.add(0, 20_000, 0)
	f, err := matcher.New("k", matcher.Regexp, "(?:.?){990}"+strings.Repeat("x", 3))
	require.NoError(t, err)
	v, err := r.pump.View()
	require.NoError(t, err)
	defer v.Close()
	_, err = v.Open[0].Select(context.Background(), metric.ID{Name: "m", Kind: metric.Counter}, matcher.List{f})
	var limit *query.LimitError
	require.ErrorAs(t, err, &limit)
	require.ErrorContains(t, err, `too slow for the 20000 series of "m" that are new`)
}

// TestSlowFiltersOfPromQL: a query that has to let its view go begins again, and remembers.
func TestSlowFiltersOfPromQL(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	defer r.close()
	const n = 2000
	r.add(0, n, 0)
	r.clock.Advance(time.Minute)
	require.NoError(t, r.pump.Flush(begin+60))
	e := promql.New(&query.Executor{Acquire: r.pump.View}, r.clock, slog.New(slog.DiscardHandler))
	w := &watching{Context: context.Background(), p: r.pump}
	res, err := e.Run(w, promql.Query{Text: `sum(increase({"m", k=~"(?:.?){990}[0-4]"}[2m]))`, Start: r.clock.Now(), End: r.clock.Now()})
	require.NoError(t, err)
	defer res.Close()
	answer, err := res.Append(nil)
	require.NoError(t, err)
	require.Contains(t, string(answer), `"1000"`)
	require.Less(t, w.held, n/4)
	found, _, err := e.Series(w, promql.Lookup{Match: []string{`{"m", k=~"(?:.?){991}[0-4]"}`}})
	require.NoError(t, err)
	require.Equal(t, n/2, found.Len())
}
