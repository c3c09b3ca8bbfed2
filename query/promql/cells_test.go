package promql

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
	"cairn/query"
)

// TestCellsAreThoseOfAQuery: selectors that fit one by one may not fit together, and a
// histogram takes more than a number.
func TestCellsAreThoseOfAQuery(t *testing.T) {
	w := newWorld(base + 7200)
	for i := range 200 {
		w.store.count("m", tagset("i", fmt.Sprint(i)), metric.UnixSec(base+60), 1)
	}
	for i := range 100 {
		for v := range 100 {
			w.store.observe("lat", tagset("i", fmt.Sprint(i%10)), metric.UnixSec(base+i), float64(1+v*v))
		}
	}
	ask := func(text string, step time.Duration) error {
		start := time.Unix(base+3600, 0)
		res, err := w.engine().Run(context.Background(), Query{Text: text, Start: start, End: start.Add(10_999 * step), Step: step})
		if err == nil {
			res.Close()
		}
		return err
	}
	sum := func(n int) string {
		return strings.TrimSuffix(strings.Repeat("count(rate(m[1h])) + ", n), " + ")
	}
	for _, step := range []time.Duration{time.Millisecond, time.Second, time.Hour} { // the last one is in the future
		require.NoError(t, ask(sum(1), step))
		var limit *query.LimitError
		require.ErrorAs(t, ask(sum(26), step), &limit, "%s", step)
		require.ErrorContains(t, limit, "make more than 16777216 points")
	}
	var limit *query.LimitError
	require.ErrorAs(t, ask("histogram_count(increase(lat[2h]))", time.Millisecond), &limit)
	require.ErrorContains(t, limit, "make more than 16777216 points")
}
