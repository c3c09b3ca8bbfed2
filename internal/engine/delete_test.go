package engine

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
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

// TestVerifyAfterDelete: what was deleted is no difference, and what is wrong with the same
// metric afterwards is one.
func TestVerifyAfterDelete(t *testing.T) {
	w := stoppedWorld(t)
	w.open()
	w.replay()
	m, err := matcher.New("a", matcher.Equal, "b")
	require.NoError(t, err)
	d, err := w.e.Delete(context.Background(), metric.ID{Name: "hits"}, matcher.List{m}, false)
	require.NoError(t, err)
	require.Equal(t, 10.0, d.Units)
	w.clock.Advance(20 * time.Second)
	w.feed(0, "hits:2|c")
	_, refusal := w.ingest(&batch{}, "hits:1|c|#a:b")
	require.Nil(t, refusal)
	w.clock.Advance(20 * time.Second)
	w.tick()
	require.NoError(t, w.e.Pump.Flush(w.now()-10))
	r := w.requireEqualReport()
	require.EqualValues(t, 2+1+1+1, r.Checked.Deleted, "two seconds, and what they lie in")
	require.NotZero(t, r.Checked.Buckets)
	require.EqualValues(t, 1, w.e.Store.Totals().DeletedSeries)
	require.Equal(t, 10.0, w.e.Store.Totals().DeletedUnits)
	w.close()
	require.True(t, w.verifyDir().Equal)
	later := uint32((begin + 22) % 3600)
	w.tamper(func(db *pebble.DB) error {
		operand := append([]byte{0x11}, binary.AppendUvarint(nil, uint64(later)<<1)...)
		return db.Merge(chunkKey(metric.Tier1s, 1), append(operand, 2), pebble.Sync) // one more
	})
	r = w.verifyDir()
	require.False(t, r.Equal)
	require.NotZero(t, r.DifferencesTotal)
	require.Equal(t, "hits", r.Differences[0].Metric)
	require.Equal(t, "1s", r.Differences[0].Tier)
	require.EqualValues(t, 4, r.Differences[0].Stored)
}

// TestDeleteIsRefused while there is no time or no room for it.
func TestDeleteIsRefused(t *testing.T) {
	w := still(t)
	hits := metric.ID{Name: "c0"}
	w.feed(0, "c0:1|c")
	_, err := w.e.deletion.begin(context.Background(), time.Minute)
	require.NoError(t, err)
	_, err = w.e.Delete(context.Background(), hits, nil, false)
	require.ErrorIs(t, err, ErrDeleting)
	w.e.deletion.end()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m, err := matcher.New("k", matcher.NotEqual, "x")
	require.NoError(t, err)
	w.feed(0, "c0:1|c|#k:x") // so that it is a part
	_, err = w.e.Delete(ctx, hits, matcher.List{m}, false)
	require.ErrorIs(t, err, ErrNoDeleteNow)
	free, floor := w.e.disk.free.Load(), w.e.disk.floor.Load()
	w.e.disk.free.Store(1)
	w.e.disk.floor.Store(2)
	_, err = w.e.Delete(context.Background(), hits, nil, false)
	require.ErrorIs(t, err, ErrNoRoom)
	w.e.disk.free.Store(free)
	w.e.disk.floor.Store(floor)
	require.NoError(t, w.e.Close())
	_, err = w.e.Delete(context.Background(), hits, nil, false)
	require.ErrorIs(t, err, ErrNoDeleteNow, "it is closed")
}
