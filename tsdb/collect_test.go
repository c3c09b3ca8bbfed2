package tsdb

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// life is a store with its chunks' owners: what the index must hold is read from the
// chunks alone.
type life struct {
	t       *rapid.T
	fs      vfs.FS
	s       *Store
	series  map[Ref]metric.Series // as of their last write
	c       *Collection
	deleted map[metric.ID]bool // in part
}

func (l *life) write() {
	b := l.s.NewBatch()
	for range rapid.IntRange(1, 12).Draw(l.t, "rows") {
		series := seriesOf(fmt.Sprint("m", rapid.IntRange(0, 2).Draw(l.t, "metric")), metric.Tag{Key: "i", Value: fmt.Sprint(rapid.IntRange(0, 9).Draw(l.t, "i"))})
		if _, again := l.pending(b, series); again {
			continue
		}
		r, err := b.Ref(series)
		require.NoError(l.t, err)
		sec := metric.UnixSec(rapid.SampledFrom([]int{1, 5000, 4_000_000, 50_000_000}).Draw(l.t, "sec"))
		require.NoError(l.t, b.Add(r, []metric.Sum{{Sec: sec, Events: 1, Value: 1}}))
		if had, ok := l.series[r]; ok && had != series {
			require.False(l.t, l.named(r), "number %v is used again while a chunk has it", r)
		}
		l.series[r] = series
	}
	require.NoError(l.t, b.Commit())
	b.Publish()
}

func (l *life) pending(b *Batch, s metric.Series) (Ref, bool) {
	for _, n := range b.added {
		if l.series[n.ref] == s {
			return n.ref, true
		}
	}
	return Ref{}, false
}

// chunks returns who has one.
func (l *life) chunks() map[Ref]bool {
	out := map[Ref]bool{}
	snap := l.s.Snapshot()
	defer func() { require.NoError(l.t, snap.Close()) }()
	require.NoError(l.t, snap.walk(context.Background(), []byte{1}, []byte{5}, func(iter *pebble.Iterator) error {
		out[refOf(iter.Key())] = true
		return nil
	}))
	return out
}

func (l *life) named(r Ref) bool { return l.chunks()[r] }

// expire deletes some partitions of some tiers.
func (l *life) expire() {
	for _, tier := range metric.Tiers {
		if !rapid.Bool().Draw(l.t, "tier") {
			continue
		}
		p, _ := tier.Place(metric.UnixSec(rapid.SampledFrom([]int{10, 6000, 60_000_000}).Draw(l.t, "until")))
		require.NoError(l.t, l.s.db.DeleteRange(appendChunkKey(nil, tier, 0, 0, 0), appendChunkKey(nil, tier, p+1, 0, 0), pebble.Sync))
		// A metric that has an account keeps its number.
		require.NoError(l.t, l.s.db.DeleteRange(appendAccountKey(nil, tier, 0, 0), appendAccountKey(nil, tier, p+1, 0), pebble.Sync))
	}
}

// delete deletes a metric, or some of its series.
func (l *life) delete() {
	m, err := matcher.New("i", matcher.Regexp, rapid.SampledFrom([]string{".*", "[0-4]", "[5-9]", "3"}).Draw(l.t, "which"))
	require.NoError(l.t, err)
	id := seriesOf(fmt.Sprint("m", rapid.IntRange(0, 2).Draw(l.t, "metric"))).ID
	if sel := l.s.Select(id, matcher.List{m}); len(sel) > 0 {
		b := l.s.NewBatch()
		d, err := b.Delete(context.Background(), id, sel, 1)
		require.NoError(l.t, err)
		l.deleted[id] = !d.Whole
		require.NoError(l.t, b.Commit())
		b.Publish()
	}
}

func (l *life) reopen() {
	if l.c != nil {
		l.c.Discard() // a crash between scan and commit
		l.c = nil
	}
	if l.s != nil {
		require.NoError(l.t, l.s.Close())
	}
	var err error
	l.s, err = Open("data", Options{FS: l.fs, Cache: 1 << 20})
	require.NoError(l.t, err)
}

func (l *life) scan() {
	if l.c == nil {
		var err error
		l.c, err = l.s.Collect(context.Background())
		require.NoError(l.t, err)
	}
}

func (l *life) commit() {
	if l.c == nil {
		return
	}
	dead, err := l.c.Commit(publishAtOnce)
	require.NoError(l.t, err)
	l.c = nil
	chunks := l.chunks()
	for _, r := range dead {
		require.False(l.t, chunks[r], "%v is removed and has a chunk", r)
	}
}

// accounted returns the numbers of metrics with an account.
func (l *life) accounted() map[uint32]bool {
	out := map[uint32]bool{}
	snap := l.s.Snapshot()
	defer func() { require.NoError(l.t, snap.Close()) }()
	require.NoError(l.t, snap.WalkAccounts(context.Background(), func(a Account) error {
		out[a.Metric] = true
		return nil
	}))
	return out
}

// check: whoever has a chunk is in the index, under its name; with exact, nobody else, but for
// metrics of which a part was deleted and the rest has expired: they have accounts still.
func (l *life) check(exact bool) {
	chunks := l.chunks()
	for r := range chunks {
		got, ok := l.s.Lookup(l.series[r])
		require.True(l.t, ok, "%v has a chunk and is not in the index", l.series[r])
		require.Equal(l.t, r, got)
	}
	if !exact {
		return
	}
	n, accounted := 0, l.accounted()
	for _, m := range l.s.Metrics() {
		if m.Series == 0 {
			require.True(l.t, l.deleted[m.ID] && accounted[l.s.index.byID[m.ID].no], "%s has no series", m.ID.Name)
		}
		n += m.Series
	}
	require.Equal(l.t, len(chunks), n)
}

// TestCollectAgainstChunks writes, deletes partitions and series, collects with writes between
// scan and commit, and opens the store again: the index must say what the chunks say.
func TestCollectAgainstChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &life{t: t, fs: vfs.NewMem(), series: map[Ref]metric.Series{}, deleted: map[metric.ID]bool{}}
		l.reopen()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			rapid.SampledFrom([]func(){l.write, l.write, l.expire, l.delete, l.scan, l.commit, l.reopen}).Draw(t, "step")()
			l.check(false)
		}
		l.commit()
		l.scan()
		l.commit()
		l.check(true)
		l.reopen()
		l.check(true)
		require.NoError(t, l.s.Close())
	})
}

// TestCollectLeavesAccounts: a metric with an account keeps its number.
func TestCollectLeavesAccounts(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer func() { require.NoError(t, s.Close()) }()
	b := s.NewBatch()
	for _, name := range []string{"a", "b"} {
		_, err := b.Ref(seriesOf(name))
		require.NoError(t, err)
	}
	require.NoError(t, b.Commit())
	b.Publish()
	no := s.index.byID[seriesOf("a").ID].no
	key := append(appendChunkKey(nil, metric.Tier1h, 7, no, 0)[:9:9], 0)
	copy(key[1:], appendChunkKey(nil, metric.Tier1h, 7, no, 0)[:9])
	key[0] = prefixAccount
	require.Len(t, key, accountKeyLen)
	require.NoError(t, s.db.Set(key, []byte{1}, pebble.Sync))
	c, err := s.Collect(context.Background())
	require.NoError(t, err)
	dead, err := c.Commit(publishAtOnce)
	require.NoError(t, err)
	require.Len(t, dead, 2)
	require.Len(t, s.Metrics(), 1)
	require.True(t, s.Known(seriesOf("a").ID))
}

func TestCollectEndsWithItsContext(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer func() { require.NoError(t, s.Close()) }()
	b := s.NewBatch()
	r, err := b.Ref(seriesOf("a"))
	require.NoError(t, err)
	require.NoError(t, b.Add(r, []metric.Sum{{Sec: 1, Events: 1, Value: 1}}))
	require.NoError(t, b.Commit())
	b.Publish()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = s.Collect(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, s.written)
	require.EqualValues(t, 0, s.epochs.oldest())
	require.Empty(t, s.epochs.open)
}

// BenchmarkCollect scans a store of 100,000 series in 14 partitions of the coarsest
// tier, where all are alive, and where a tenth was last seen in the oldest one of the
// finest tier only.
func BenchmarkCollect(b *testing.B) {
	for _, gone := range []int{math.MaxInt, 10} {
		b.Run(fmt.Sprintf("gone=1in%d", gone), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			require.NoError(b, err)
			const n = 100_000
			for p := range 14 {
				batch := s.NewBatch()
				for i := range n {
					if p > 0 && i%gone == 1 {
						continue
					}
					r, err := batch.Ref(seriesOf("m", metric.Tag{Key: "i", Value: fmt.Sprint(i)}))
					require.NoError(b, err)
					require.NoError(b, batch.Add(r, []metric.Sum{{Sec: metric.UnixSec(int64(p) * metric.Tier1h.Span()), Events: 1, Value: 1}}))
				}
				require.NoError(b, batch.Commit())
				batch.Publish()
			}
			for _, t := range metric.Tiers {
				require.NoError(b, s.db.DeleteRange(appendChunkKey(nil, t, 0, 0, 0), appendChunkKey(nil, t, 1, 0, 0), pebble.Sync))
			}
			for b.Loop() {
				c, err := s.Collect(context.Background())
				require.NoError(b, err)
				c.Discard()
			}
			require.NoError(b, s.Close())
		})
	}
}

func publishAtOnce(_ []Ref, remove func()) { remove() }
