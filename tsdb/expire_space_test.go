package tsdb

import (
	"context"
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

// TestExpiryGivesSpaceBack writes days of noise, in tables that straddle partitions, and
// expires most of them: the space comes back by itself. Whether a delete-only compaction or
// one that was due anyway drops a table depends on what Pebble was at.
func TestExpiryGivesSpaceBack(t *testing.T) {
	s := openRetained(t, vfs.NewMem(), metric.Policy{Default: metric.Retention{3 * 3600}})
	begin := metric.UnixSec(1_700_000_000).Floor(3600)
	rng := rand.New(rand.NewPCG(1, 1))
	const hours = 24
	for h := range hours {
		b := s.NewBatch()
		for i := range 20 {
			r, err := b.Ref(seriesOf("m", metric.Tag{Key: "i", Value: fmt.Sprint(i)}))
			require.NoError(t, err)
			var sums []metric.Sum
			for sec := range 1800 {
				sums = append(sums, metric.Sum{Sec: begin + metric.UnixSec(h*3600+sec), Events: 1, Value: rng.Float64()})
			}
			require.NoError(t, b.Add(r, sums))
		}
		require.NoError(t, b.Commit())
		b.Publish()
		if h%5 == 4 { // so that tables straddle what is held and what is not
			require.NoError(t, s.db.Flush())
		}
	}
	require.NoError(t, s.db.Flush())
	// Where data of hours ago is: what came last lies above it, and goes down with the
	// next compaction.
	require.NoError(t, s.Compact(context.Background()))
	whole := tableBytes(s)
	got, err := s.Expire(begin+hours*3600, 0)
	require.NoError(t, err)
	require.Equal(t, hours-3, got.Ranges)
	require.True(t, got.Coarsest)
	require.EqualValues(t, (hours-3)*20*1800, got.Events)
	// Pebble works in the background; the test ends when it has, or at its own limit.
	for i := 0; tableBytes(s) > whole/4; i++ {
		require.Less(t, i, 10_000, s.db.Metrics().String())
		<-time.NewTimer(time.Millisecond).C
	}
	require.Equal(t, s.totals.Events, got.Events+3*20*1800)
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
	got, err := s.Expire(1_700_000_000, 0)
	require.NoError(t, err)
	require.True(t, got.More)
	require.Equal(t, maxDeletions, got.Ranges)
	for passes := 0; got.More; passes++ {
		require.Less(t, passes, 5)
		got, err = s.Expire(1_700_000_000, time.Minute)
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
