package engine

import (
	"context"
	"strings"

	"github.com/stretchr/testify/require"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// delete deletes a metric, or those of its series that have a tag or have it not, or only asks what
// would go.
func (w *world) delete() {
	name := names[w.pick(len(names))]
	var match matcher.List
	tags := func(string) bool { return true }
	if w.pick(3) > 0 {
		op, value := []matcher.Op{matcher.Equal, matcher.NotEqual}[w.pick(2)], []string{"a", "b"}[w.pick(2)]
		m, err := matcher.New("k", op, value)
		require.NoError(w.t, err)
		match = matcher.List{m}
		tags = func(s string) bool { return strings.HasPrefix(s, "k="+value) == (op == matcher.Equal) }
	}
	dry := w.pick(4) == 0
	w.mu.Lock()
	w.units = [][]event{w.fed[0], w.fed[1]}
	all := append(append(append([]event(nil), w.sure...), w.fed[0]...), w.fed[1]...)
	series, ofMetric, some := map[string]bool{}, map[string]bool{}, func(e event) bool { return e.name == name && tags(e.tags) }
	for _, e := range all {
		if e.name == name {
			ofMetric[e.tags] = true
		}
		if some(e) {
			series[e.tags] = true
		}
	}
	if !dry {
		w.going = some
	}
	w.mu.Unlock()
	d, err := w.e.Delete(context.Background(), metric.ID{Name: name}, match, dry)
	require.NoError(w.t, err)
	require.Len(w.t, series, d.Series)
	require.Equal(w.t, len(series) > 0 && len(series) == len(ofMetric), d.Whole)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sure, w.units, w.going, w.fed = all, nil, nil, [2][]event{}
	if dry || d.Series == 0 {
		return
	}
	left := make([]event, 0, len(all))
	for _, e := range all {
		if !some(e) {
			left = append(left, e)
		}
	}
	w.sure = left
	w.gone += number(all) - number(left)
}
