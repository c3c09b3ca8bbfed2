package tsdb

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// TestANumberThatCannotBeIsRefused: a damaged number of a series must not cost gigabytes, and the
// sentence says what to do.
func TestANumberThatCannotBeIsRefused(t *testing.T) {
	for no, ok := range map[uint32]bool{1 << 20: true, maxSeriesGap + 2: false, maxSeries: false} {
		fs := vfs.NewMem()
		s := open(t, fs)
		b := s.NewBatch()
		r, err := b.Ref(seriesOf("m"))
		require.NoError(t, err)
		require.NoError(t, b.Add(r, []metric.Sum{{Sec: 1, Events: 1, Value: 1}}))
		require.NoError(t, b.Commit())
		b.Publish()
		tags := metric.NewTagset([]metric.Tag{{Key: "k", Value: "v"}})
		require.NoError(t, s.db.Set(seriesKey(r.metric, no), []byte(tags), pebble.Sync))
		require.NoError(t, s.Close())
		s, err = Open("data", Options{FS: fs, Cache: 1 << 20})
		if ok {
			require.NoError(t, err)
			require.Len(t, s.Select(seriesOf("m").ID, all), 2)
			require.NoError(t, s.Close())
			continue
		}
		require.ErrorContains(t, err, "comes when the highest is 1: more numbers are unused than there can be; it is damaged: check the disk, and restore a backup")
	}
}
