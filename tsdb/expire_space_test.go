package tsdb

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// tableBytes is what tables take on disk, those that are not removed yet too.
func tableBytes(s *Store) uint64 {
	m := s.db.Metrics()
	return m.Table.Local.LiveSize + m.Table.Local.ObsoleteSize + m.Table.Local.ZombieSize
}

// TestExpiryGivesSpaceBack writes days of noise, an hour at a time, and expires what is three
// hours old: the space comes back by itself, with the compactions that come anyway. Nothing is
// compacted by hand.
func TestExpiryGivesSpaceBack(t *testing.T) {
	s := openRetained(t, vfs.NewMem(), metric.Policy{Default: metric.Retention{3 * 3600}})
	begin := metric.UnixSec(1_700_000_000).Floor(3600)
	rng := rand.New(rand.NewPCG(1, 1))
	const hours, series, seconds = 96, 20, 900
	written, expired := uint64(0), uint64(0)
	for h := range hours {
		b := s.NewBatch()
		for i := range series {
			r, err := b.Ref(seriesOf("m", metric.Tag{Key: "i", Value: fmt.Sprint(i)}))
			require.NoError(t, err)
			var sums []metric.Sum
			for sec := range seconds {
				sums = append(sums, metric.Sum{Sec: begin + metric.UnixSec(h*3600+sec), Events: 1, Value: rng.Float64()})
			}
			require.NoError(t, b.Add(r, sums))
		}
		require.NoError(t, b.Commit())
		b.Publish()
		before := tableBytes(s)
		require.NoError(t, s.db.Flush())
		if now := tableBytes(s); now > before {
			written += now - before
		}
		got, err := s.Expire(begin+metric.UnixSec(h+1)*3600, time.Hour, false)
		require.NoError(t, err)
		expired += got.Events
	}
	require.EqualValues(t, (hours-3)*series*seconds, expired)
	require.Equal(t, s.totals.Events, expired+3*series*seconds)
	// Pebble works in the background; the test ends when it has, or at its own limit.
	for i := 0; tableBytes(s) > written/4; i++ {
		require.Less(t, i, 10_000, s.db.Metrics().String())
		<-time.NewTimer(time.Millisecond).C
	}
	require.NoError(t, s.Close())
}

// TestManyRangesGoOn deletes more than one pass may.
func TestManyRangesGoOn(t *testing.T) {
	s := openRetained(t, vfs.NewMem(), metric.Policy{Default: metric.Retention{3600}})
	b := s.NewBatch()
	r, err := b.Ref(seriesOf("m"))
	require.NoError(t, err)
	var sums []metric.Sum
	for i := range maxDeletions + 10 {
		sums = append(sums, metric.Sum{Sec: metric.UnixSec(1_600_000_000 + i*3600), Events: 1, Value: 1})
	}
	require.NoError(t, b.Add(r, sums))
	require.NoError(t, b.Commit())
	b.Publish()
	got, err := s.Expire(1_700_000_000, 0, false)
	require.NoError(t, err)
	require.True(t, got.More)
	require.Equal(t, maxDeletions, got.Ranges)
	for passes := 0; got.More; passes++ {
		require.Less(t, passes, 5)
		got, err = s.Expire(1_700_000_000, time.Minute, false)
		require.NoError(t, err)
	}
	require.EqualValues(t, maxDeletions+10, s.Totals().Expired)
	snap := s.Snapshot()
	left, err := snap.Unaccounted()
	require.NoError(t, err)
	require.Zero(t, left)
	_, ok, err := snap.NextPartition(metric.Tier1s, 0)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, snap.Close())
	require.NoError(t, s.Close())
}
