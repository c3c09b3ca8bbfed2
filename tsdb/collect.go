package tsdb

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// removeSeries removes series from the index with the batch: on disk with Commit, in
// memory with Publish. The caller removes their chunks, in the same commit or before
// it, and has nothing for them in this batch. Their numbers are used again once no
// snapshot of before is open. Their metrics stay, until a Collect.
func (b *Batch) removeSeries(refs []Ref) { b.removed = append(b.removed, refs...) }

// writeRemoved deletes the index entries of what is removed, and what else a Delete deletes.
func (b *Batch) writeRemoved(w pebbleBatch) error {
	var key []byte
	for _, r := range b.removed {
		key = appendSeriesKey(key[:0], r.metric, r.series)
		if err := w.Delete(key); err != nil {
			return err
		}
	}
	for _, no := range b.gone {
		if err := errors.Join(w.Delete(metricKey(prefixMetric, no)), w.Delete(metricKey(prefixLastSeen, no))); err != nil {
			return err
		}
	}
	if b.deletion == nil {
		return nil
	}
	return b.deletion.write(w)
}

// publishRemoved takes what was removed out of the index. The caller holds its lock.
func (b *Batch) publishRemoved() {
	if len(b.removed)+len(b.gone) == 0 {
		return
	}
	x := b.s.index
	series := make([]uint32, 0, len(b.removed))
	for _, r := range b.removed {
		if x.has(r) {
			x.removeSeries(r)
			series = append(series, r.series)
		}
	}
	for _, no := range b.gone {
		x.removeMetric(no)
	}
	x.era = new(era)
	x.compact()
	epoch := b.s.epochs.next()
	x.seriesNos.retire(series, epoch)
	x.metricNos.retire(b.gone, epoch)
}

// release lets numbers be used again that no open snapshot can know.
func (x *index) release(oldest uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seriesNos.release(oldest)
	x.metricNos.release(oldest)
}

// marks are what batches wrote to while a Collect was under way.
type marks struct{ series, metrics roaring.Bitmap }

// Collection is the series, and the metrics, of which a Collect found no chunk. It
// must end with Commit or Discard.
type Collection struct {
	s    *Store
	dead []Ref
	held map[uint32]struct{}
}

// Collect looks for series of which no tier has a chunk. It reads keys only, holds no
// lock and may go on beside batches; one Collect at a time.
//
// Most series have a chunk in the latest partition of the coarsest tier, so that one
// pass over its keys leaves few; for those it goes back, partition by partition, and
// seeks from one to the next. That is one seek for each that is dead in each
// partition of each tier.
func (s *Store) Collect(ctx context.Context) (*Collection, error) {
	s.index.mu.Lock()
	if s.written != nil {
		s.index.mu.Unlock()
		panic("BUG: two Collects at once")
	}
	s.written = new(marks)
	c := &Collection{s: s, held: make(map[uint32]struct{})}
	for i, m := range s.index.metricOf {
		if m != 0 {
			c.dead = append(c.dead, Ref{m, uint32(i) + 1})
		}
	}
	s.index.mu.Unlock()
	slices.SortFunc(c.dead, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.metric, b.metric), cmp.Compare(a.series, b.series))
	})
	snap := s.Snapshot() // after the marks: what is written later is marked
	err := c.scan(ctx, snap)
	if err = errors.Join(err, snap.Close()); err != nil {
		c.Discard()
		return nil, fmt.Errorf("look for series without data: %w", err)
	}
	return c, nil
}

func (c *Collection) scan(ctx context.Context, snap *Snapshot) error {
	for i := len(metric.Tiers) - 1; i >= 0 && len(c.dead) > 0; i-- {
		if err := c.scanTier(ctx, snap, metric.Tiers[i]); err != nil {
			return err
		}
	}
	return snap.walk(ctx, []byte{prefixAccount}, []byte{prefixAccount + 1}, func(iter *pebble.Iterator) error {
		if key := iter.Key(); len(key) == accountKeyLen {
			c.held[binary.BigEndian.Uint32(key[6:])] = struct{}{}
		}
		return ctx.Err()
	})
}

// scanTier takes those off the list that have a chunk in a tier.
func (c *Collection) scanTier(ctx context.Context, snap *Snapshot, t metric.Tier) error {
	iter, err := snap.snap.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{byte(t)}, UpperBound: []byte{byte(t) + 1}})
	if err != nil {
		return err
	}
	for ok := iter.Last(); ok && len(c.dead) > 0; {
		partition := partitionOfKey(iter.Key())
		if err := c.scanPartition(ctx, iter, t, partition); err != nil {
			return errors.Join(err, iter.Close())
		}
		ok = iter.SeekLT(appendChunkKey(nil, t, partition, 0, 0))
	}
	return errors.Join(iter.Error(), iter.Close())
}

// restKeys is how many keys are looked at before ctx is asked.
const restKeys = 4096

func (c *Collection) scanPartition(ctx context.Context, iter *pebble.Iterator, t metric.Tier, partition uint32) error {
	list := c.dead
	left := list[:0] // written behind where list is read
	var key []byte
	i := 0
	for n := 0; i < len(list); n++ {
		if n%restKeys == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		// The next key is mostly the one that is looked for.
		if n == 0 || !iter.Next() || partitionOfKey(iter.Key()) != partition || before(refOf(iter.Key()), list[i]) {
			key = appendChunkKey(key[:0], t, partition, list[i].metric, list[i].series)
			if !iter.SeekGE(key) || partitionOfKey(iter.Key()) != partition {
				break
			}
		}
		have := refOf(iter.Key())
		for i < len(list) && before(list[i], have) {
			left = append(left, list[i])
			i++
		}
		if i < len(list) && list[i] == have {
			i++
		}
	}
	c.dead = append(left, list[i:]...)
	return iter.Error()
}

func refOf(key []byte) Ref { return Ref{metricOfKey(key), seriesOfKey(key)} }

func before(a, b Ref) bool {
	return a.metric < b.metric || a.metric == b.metric && a.series < b.series
}

// Discard gives the collection up.
func (c *Collection) Discard() {
	c.s.index.mu.Lock()
	c.s.written = nil
	c.s.index.mu.Unlock()
}

// Commit removes what was found and not written to since, and metrics that have no
// series left, from disk and from memory. It is a batch: one at a time. Whoever keeps
// the Refs that it returns must forget them; publish is called with them and with what
// takes them out of memory, which it must call.
func (c *Collection) Commit(publish func(dead []Ref, remove func())) (dead []Ref, err error) {
	defer c.Discard()
	x := c.s.index
	b := c.s.NewBatch()
	x.mu.RLock()
	w := c.s.written
	left := make(map[uint32]int)
	for _, r := range c.dead {
		if x.has(r) && !w.series.Contains(r.series) {
			b.removed = append(b.removed, r)
			left[r.metric]++
		}
	}
	for _, m := range x.byID {
		if _, held := c.held[m.no]; !held && !w.metrics.Contains(m.no) && m.series.len() == left[m.no] {
			b.gone = append(b.gone, m.no)
		}
	}
	x.mu.RUnlock()
	if len(b.removed)+len(b.gone) == 0 {
		b.Discard()
		return nil, nil
	}
	if err := b.Commit(); err != nil {
		b.Discard()
		return nil, fmt.Errorf("remove series without data: %w", err)
	}
	dead = b.removed
	publish(dead, b.Publish)
	return dead, nil
}
