package tsdb

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// TestLongRows: one series with more operands than a chunk of the arena holds, and
// a neighbour whose operands lie behind them.
func TestLongRows(t *testing.T) {
	s, o := open(t, vfs.NewMem()), oracle{}
	b := s.NewBatch()
	for _, n := range []int{200_000, 3} {
		series := seriesOf("m", metric.Tag{Key: "n", Value: string(rune('a' + n%7))})
		sums := make([]metric.Sum, n)
		for i := range sums {
			sums[i] = metric.Sum{Sec: metric.UnixSec(1_600_000_000 + 37*i), Events: 1, Value: 0.5}
		}
		r, err := b.Ref(series)
		require.NoError(t, err)
		require.NoError(t, b.Add(r, sums))
		o.add(series, sums)
	}
	require.NoError(t, b.Commit())
	b.Publish()
	o.check(t, s)
	require.NoError(t, s.Close())
}
