package journal

import (
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

func TestArchive(t *testing.T) {
	fs, now := vfs.NewMem(), clock.NewManual(time.Unix(1000, 0))
	a, err := OpenArchive(fs, "data/journal")
	require.NoError(t, err, "there is none yet")
	require.NoError(t, a.Read(0, 0, nil))
	o := options(fs)
	o.Clock, o.SegmentBytes = now, 1
	l := open(t, o)
	var at []Pos
	for i := range 5 {
		r := numbered(i, 10)
		r.Last = metric.SecOf(now.Now()) + 3
		at = append(at, add(t, l, r))
		now.Advance(time.Second)
	}
	check := func(since func(uint64) (Pos, metric.UnixSec)) {
		for events, want := range map[uint64]int{0: 4, 10: 4, 11: 4, 20: 3, 40: 1, 49: 1, 50: 0, math.MaxUint64: 0} {
			pos, created := since(events)
			require.Equal(t, at[want], pos, "%d events", events)
			require.EqualValues(t, 1000+want, created, "%d events", events)
		}
	}
	check(l.Since)
	require.NoError(t, l.Close())
	a, err = OpenArchive(fs, "data/journal")
	require.NoError(t, err)
	check(a.Since)
	var read []Pos
	require.NoError(t, a.Read(at[2], 0, func(p Pos, _ *Record) error {
		read = append(read, p)
		return nil
	}))
	require.Equal(t, at[2:], read)

	// The clock goes back: no segment is older than what lies before it.
	o.Clock = clock.NewManual(time.Unix(500, 0))
	l = open(t, o)
	add(t, l, numbered(5, 10))
	_, created := l.Since(0)
	require.EqualValues(t, 1004, created)
	require.NoError(t, l.Close())
	o.Clock = clock.NewManual(time.Unix(600, 0))
	l = open(t, o)
	r := numbered(6, 10)
	r.Last = 2000 // as a clock that was right for a while had it
	add(t, l, r)
	require.NoError(t, l.Close())
	l = open(t, o)
	add(t, l, numbered(7, 10))
	_, created = l.Since(0)
	require.EqualValues(t, 2000-metric.MaxFuture, created)
	require.NoError(t, l.Close())
}
