package journal

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

// names returns which segments are on the disk.
func names(t *testing.T, fs vfs.FS) (out []uint32) {
	t.Helper()
	list, err := fs.List("data/journal")
	require.NoError(t, err)
	for _, name := range list {
		if n, ok := parseName(name); ok {
			out = append(out, n)
		}
	}
	return out
}

func TestRetention(t *testing.T) {
	fs, now := vfs.NewMem(), clock.NewManual(time.Unix(1000, 0))
	o := options(fs)
	o.Clock, o.SegmentBytes, o.Retention, o.RetainBytes, o.Epoch = now, 1, time.Minute, 1<<20, 7
	l := open(t, o)
	require.Equal(t, uint64(7), l.OldestEpoch())
	var at []Pos
	for i := range 6 {
		at = append(at, add(t, l, numbered(i, 1)))
		now.Advance(20 * time.Second)
	}
	first, created := l.First()
	require.Equal(t, [2]any{at[0], metric.UnixSec(1000)}, [2]any{first, created})
	// 1120 now. Segment i ends when the next one begins, at 1020+20*i.
	require.NoError(t, l.Release(at[1]))
	require.ElementsMatch(t, []uint32{2, 3, 4, 5, 6}, names(t, fs), "only below the position")
	require.NoError(t, l.Release(l.End()))
	require.ElementsMatch(t, []uint32{4, 5, 6}, names(t, fs), "a minute and older")
	require.ErrorIs(t, l.Read(at[0], 0, nil), ErrReleased)
	now.Advance(time.Hour)
	require.NoError(t, l.Release(at[3]))
	require.Len(t, names(t, fs), 3)
	require.NoError(t, l.Release(l.End()))
	require.Equal(t, []uint32{6}, names(t, fs), "the newest one stays")
	require.Equal(t, 1, l.Stats().Segments)
	require.NoError(t, l.Close())

	o.RetainBytes, o.Epoch = 300, 8 // two segments of some 135 bytes
	l = open(t, o)
	require.Equal(t, uint64(7), l.OldestEpoch())
	_, r := heads(t, l, 0)
	require.Equal(t, uint64(6), r.Total)
	for i := range 6 {
		add(t, l, numbered(i, 1))
		require.NoError(t, l.Release(l.End()))
	}
	require.ElementsMatch(t, []uint32{10, 11, 12}, names(t, fs))
	require.Equal(t, uint64(8), l.OldestEpoch())
	require.NoError(t, l.Close())
}

func TestOldest(t *testing.T) {
	o := options(vfs.NewMem())
	l := open(t, o)
	require.Equal(t, l.End(), l.Oldest(0, 0))
	last := []metric.UnixSec{50, 90, 70, 0}
	var at []Pos
	for _, sec := range last {
		r := numbered(1, 1)
		r.Last = sec
		at = append(at, add(t, l, r))
		l.Roll()
		l.Roll() // twice is once
	}
	check := func(l *Log) {
		t.Helper()
		end := l.End()
		require.Equal(t, at[0], l.Oldest(0, 1000), "the cut")
		require.Equal(t, at[2], l.Oldest(at[2], 1000))
		require.Equal(t, at[1], l.Oldest(at[2], 90))
		require.Equal(t, at[0], l.Oldest(end, 50))
		require.Equal(t, at[1], l.Oldest(end, 51))
		require.Equal(t, end, l.Oldest(end, 91))
	}
	check(l)
	require.NoError(t, l.Close())
	l = open(t, o)
	require.Equal(t, at[0], l.Oldest(l.End(), 1000), "not replayed: nobody knows")
	_, r := heads(t, l, 0)
	require.Equal(t, uint64(4), r.Records)
	check(l)
	require.NoError(t, l.Close())
	l = open(t, o)
	heads(t, l, at[2])
	require.Equal(t, at[2], l.Oldest(l.End(), 60), "what lies before the replay was not needed")
	require.NoError(t, l.Close())
	o.After = posOf(100, 5)
	l = open(t, o)
	require.Equal(t, posOf(101, headerLen), add(t, l, numbered(1, 1)))
	require.NoError(t, l.Close())
}

// TestReadWhileSegmentsGo reads from the beginning while records come and segments
// go: each read sees a run of records without a gap.
func TestReadWhileSegmentsGo(t *testing.T) {
	o := options(vfs.NewMem())
	o.SegmentBytes, o.Retention = 500, 0
	l := open(t, o)
	add(t, l, numbered(0, 1))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := l.Append(&Record{Kind: 1, Head: []byte{byte(i >> 16), byte(i >> 8), byte(i)}, Events: 1}).Wait(); err != nil {
				t.Error(err)
				return
			}
			if i%10 == 0 {
				if err := l.Release(l.End()); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 200 {
		before, n := 0, 0
		require.NoError(t, l.Read(0, 0, func(_ Pos, r *Record) error {
			if len(r.Head) == 3 {
				i := int(r.Head[0])<<16 | int(r.Head[1])<<8 | int(r.Head[2])
				if n++; n > 1 {
					require.Equal(t, before+1, i)
				}
				before = i
			}
			return nil
		}))
		end := l.End()
		require.NoError(t, l.Read(end, end, func(Pos, *Record) error { return nil }))
	}
	close(stop)
	wg.Wait()
	require.NoError(t, l.Close())
}

// TestSpare: what is kept for reconciliation goes at once when there is no room for it.
func TestSpare(t *testing.T) {
	fs, now := vfs.NewMem(), clock.NewManual(time.Unix(1000, 0))
	o := options(fs)
	o.Clock, o.SegmentBytes, o.Retention, o.RetainBytes = now, 1, time.Hour, 1<<20
	l := open(t, o)
	var at []Pos
	for i := range 6 {
		at = append(at, add(t, l, numbered(i, 1)))
	}
	require.NoError(t, l.Release(at[3]))
	require.Len(t, names(t, fs), 6)
	require.NoError(t, l.Spare())
	require.ElementsMatch(t, []uint32{4, 5, 6}, names(t, fs))
	require.NoError(t, l.Close())
}
