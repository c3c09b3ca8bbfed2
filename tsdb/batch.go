package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Batch collects what one flush commits. It is not safe for concurrent use.
type Batch struct {
	s       *Store
	b       *pebble.Batch
	key     []byte
	run     []byte
	folder  bucketFolder
	newIDs  map[metric.ID]uint32
	added   []newSeries
	addedBy map[metric.Series]Ref
	seen    map[uint32]metric.UnixSec
	cursor  metric.UnixSec
	events  uint64

	annotations uint64 // number of the next one
}

type newSeries struct {
	ref  Ref
	tags metric.Tagset
}

// NewBatch returns an empty batch. It must end with Commit and Publish, or with
// Discard, before the next one begins.
func (s *Store) NewBatch() *Batch {
	return &Batch{
		s: s, b: s.db.NewBatch(), newIDs: make(map[metric.ID]uint32),
		addedBy: make(map[metric.Series]Ref), seen: make(map[uint32]metric.UnixSec), cursor: s.cursor,
		annotations: s.annotations,
	}
}

// Ref returns the Ref of a series, and makes one for it if it is new. A new Ref
// is good for this batch, and for good once the batch is committed.
func (b *Batch) Ref(series metric.Series) (Ref, error) {
	if r, ok := b.s.Lookup(series); ok {
		return r, nil
	}
	if r, ok := b.addedBy[series]; ok {
		return r, nil
	}
	no, err := b.metricNo(series.ID)
	if err != nil {
		return Ref{}, err
	}
	r := Ref{no, b.s.index.lastSeries + uint32(len(b.added)) + 1}
	if r.series == 0 {
		return Ref{}, errors.New("all 2^32 series numbers are used up")
	}
	if err := b.b.Set(seriesKey(r.metric, r.series), []byte(series.Tags), nil); err != nil {
		return Ref{}, fmt.Errorf("add a series to the batch: %w", err)
	}
	b.addedBy[series] = r
	b.added = append(b.added, newSeries{r, series.Tags})
	return r, nil
}

func (b *Batch) metricNo(id metric.ID) (uint32, error) {
	if m := b.s.index.byID[id]; m != nil { // only Commit writes to it, and batches do not overlap
		return m.no, nil
	}
	if no, ok := b.newIDs[id]; ok {
		return no, nil
	}
	no := uint32(len(b.s.index.order) + len(b.newIDs) + 1)
	if err := b.b.Set(metricKey(prefixMetric, no), append([]byte{byte(id.Kind)}, id.Name...), nil); err != nil {
		return 0, fmt.Errorf("add a metric to the batch: %w", err)
	}
	b.newIDs[id] = no
	return no, nil
}

// Add adds sums to a counter, in every tier. They are in order of time, one a
// second, in [0, metric.MaxSec].
func (b *Batch) Add(r Ref, sums []metric.Sum) error {
	if len(sums) == 0 {
		return nil
	}
	for _, t := range metric.Tiers {
		var err error
		b.run, err = foldRuns(t, sums, b.run, func(partition uint32, run []byte) error {
			b.key = appendChunkKey(b.key[:0], t, partition, r.metric, r.series)
			return b.b.Merge(b.key, run, nil)
		})
		if err != nil {
			return fmt.Errorf("add a chunk to the batch: %w", err)
		}
	}
	for i := range sums {
		b.events += uint64(sums[i].Events)
	}
	b.seen[r.metric] = max(b.seen[r.metric], sums[len(sums)-1].Sec)
	return nil
}

// AddBuckets is Add for kinds that are no numbers.
func (b *Batch) AddBuckets(r Ref, dated []bucket.Dated) error {
	if len(dated) == 0 {
		return nil
	}
	for _, t := range metric.Tiers {
		err := b.folder.fold(t, dated, func(partition uint32, run []byte) error {
			b.key = appendChunkKey(b.key[:0], t, partition, r.metric, r.series)
			return b.b.Merge(b.key, run, nil)
		})
		if err != nil {
			return fmt.Errorf("add a chunk to the batch: %w", err)
		}
	}
	for i := range dated {
		b.events += uint64(dated[i].Events)
	}
	b.seen[r.metric] = max(b.seen[r.metric], dated[len(dated)-1].Sec)
	return nil
}

// SetCursor says that everything before w is in the store with this batch.
func (b *Batch) SetCursor(w metric.UnixSec) { b.cursor = w }

// Commit writes the batch, synced. After an error nothing of the batch counts and
// the same sums may be committed again, in another batch.
func (b *Batch) Commit() error {
	err := b.setState()
	if err == nil {
		err = b.b.Commit(pebble.Sync)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("commit: %w", err), b.b.Close())
	}
	return b.b.Close()
}

func (b *Batch) setState() error {
	for no, sec := range b.seen {
		if int(no) <= len(b.s.index.order) && b.s.index.order[no-1].lastSeen >= sec {
			continue
		}
		if err := b.b.Set(metricKey(prefixLastSeen, no), binary.AppendUvarint(nil, uint64(sec)), nil); err != nil {
			return err
		}
	}
	if err := b.b.Set(keyCursor, binary.AppendUvarint(nil, uint64(b.cursor)), nil); err != nil {
		return err
	}
	return b.b.Set(keyTotals, binary.AppendUvarint(nil, b.s.totals.Events+b.events), nil)
}

// Publish brings the index, the cursor and the totals up to date with what was
// committed. It is apart from Commit so that the caller can do it, quickly, at
// the instant at which it takes a new snapshot.
func (b *Batch) Publish() {
	x := b.s.index
	x.mu.Lock()
	defer x.mu.Unlock()
	ids := make([]metric.ID, len(b.newIDs))
	for id, no := range b.newIDs {
		ids[int(no)-len(x.order)-1] = id
	}
	for _, id := range ids {
		x.addMetric(id, uint32(len(x.order)+1))
	}
	for _, n := range b.added {
		x.order[n.ref.metric-1].addSeries(n.tags, n.ref.series)
	}
	x.lastSeries += uint32(len(b.added))
	for no, sec := range b.seen {
		m := x.order[no-1]
		m.lastSeen = max(m.lastSeen, sec)
	}
	b.s.cursor = b.cursor
	b.s.annotations = b.annotations
	b.s.totals.Events += b.events
}

// Discard drops the batch.
func (b *Batch) Discard() error { return b.b.Close() }
