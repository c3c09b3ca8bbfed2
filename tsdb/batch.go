package tsdb

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Batch collects what one flush commits. It is not safe for concurrent use.
type Batch struct {
	s           *Store
	rows        []row
	spare       []row // as large as rows
	operands    arena
	one         []byte  // the operands of the row that is being added
	ref         Ref     // of that row
	places      []place // that operands are for, in the order in which they came up
	placeOf     map[place]int
	run         []byte
	tier        metric.Tier                              // that is being folded
	emit        func(partition uint32, run []byte) error // appendOperand; a closure a row would be garbage
	lastMetric  uint32                                   // of the last row
	lastSeen    metric.UnixSec                           // of lastMetric's rows that came together
	folder      bucketFolder
	holdings    []holding        // by retention
	holding     *holding         // of lastMetric
	newRetained map[uint32]uint8 // retentions of new metrics, by number
	accounts    accounter
	expired     account // what no tier holds
	newIDs      map[metric.ID]uint32
	ids         []metric.ID // of newIDs, in the order in which they came
	added       []newSeries
	removed     []Ref
	gone        []uint32  // metrics
	deletion    *deletion // nil: nothing is deleted
	seen        map[uint32]metric.UnixSec
	annotations []metric.Annotation
	sequences   []Sequence
	forget      map[[16]byte]uint64 // sequences below, by producer
	cursor      Cursor
	totals      Totals // but for events and units
	events      uint64
	units       float64
}

// row is what the batch adds to one series. Its operands lie in Batch.operands at
// at:
//
//	uvarint  place + 1; 0 behind the last one
//	uvarint  length of the operand
//	bytes    the operand
type row struct {
	ref Ref
	at  uint32
}

// place is where a chunk's key begins.
type place struct {
	tier      metric.Tier
	partition uint32
}

// narrow is how many places make a batch a common one: sums of the last minute are
// for four to eight. A batch of old timestamps may have thousands.
const narrow = 16

type newSeries struct {
	ref  Ref
	tags metric.Tagset
}

// NewBatch returns an empty batch. It must end with Commit and Publish, or with
// Discard, before the next one begins.
func (s *Store) NewBatch() *Batch {
	b := &Batch{s: s, newIDs: make(map[metric.ID]uint32), placeOf: make(map[place]int), seen: make(map[uint32]metric.UnixSec), cursor: s.cursor, totals: s.totals}
	b.holdings, b.accounts.at = holdingsOf(s.retentions, s.ttl), make(map[accountOf]int)
	b.rows, b.spare, b.operands = s.scratch.rows[:0], s.scratch.spare[:0], s.scratch.operands.empty()
	s.scratch = scratch{}
	s.index.release(s.epochs.oldest())
	b.emit = b.appendOperand
	return b
}

// scratch is what a batch leaves to the next one, so that a flush of many series
// does not leave its weight in garbage.
type scratch struct {
	rows     []row
	spare    []row
	operands arena
}

// Ref returns the Ref of a series, and makes one for it if it is new: ask once a
// batch. A new Ref is good for this batch, and for good once the batch is
// committed.
func (b *Batch) Ref(series metric.Series) (Ref, error) {
	if r, ok := b.s.Lookup(series); ok {
		return r, nil
	}
	no := b.s.index.seriesNos.nth(len(b.added)) // only NewBatch and Publish write to them
	switch {
	case no > maxSeries:
		return Ref{}, errors.New("all 2^31 series numbers are used up")
	case b.s.index.dict.full():
		return Ref{}, fmt.Errorf("the tags of all series have more than %d bytes", maxText)
	}
	r := Ref{b.metricNo(series.ID), uint32(no)}
	b.added = append(b.added, newSeries{r, series.Tags})
	return r, nil
}

func (b *Batch) metricNo(id metric.ID) uint32 {
	if m := b.s.index.byID[id]; m != nil { // only Publish writes to it, and batches do not overlap
		return m.no
	}
	if no, ok := b.newIDs[id]; ok {
		return no
	}
	no := uint32(b.s.index.metricNos.nth(len(b.newIDs)))
	b.newIDs[id] = no
	if b.newRetained == nil {
		b.newRetained = make(map[uint32]uint8)
	}
	b.newRetained[no] = b.s.retentionOf(id.Name)
	b.ids = append(b.ids, id)
	return no
}

// Add adds sums to a counter, in every tier that holds them. They are in order of
// time, one a second, in [0, metric.MaxSec]. What no tier holds counts as stored, and
// as expired.
func (b *Batch) Add(r Ref, sums []metric.Sum) (err error) {
	if len(sums) == 0 {
		return nil
	}
	b.begin(r, sums[len(sums)-1].Sec)
	for _, b.tier = range metric.Tiers {
		if b.run, err = foldRuns(b.tier, b.holding.held(b.tier, sums), b.run, b.emit); err != nil {
			return fmt.Errorf("add a chunk to the batch: %w", err)
		}
	}
	var at accountRun
	for i := range sums {
		if sums[i].Sec >= at.end {
			b.turn(&at, sums[i].Sec)
		}
		at.events += uint64(sums[i].Events)
		at.units += sums[i].Value
	}
	b.settle(&at)
	return b.end(r)
}

// AddBuckets is Add for kinds that are no numbers.
func (b *Batch) AddBuckets(r Ref, dated []bucket.Dated) error {
	if len(dated) == 0 {
		return nil
	}
	b.begin(r, dated[len(dated)-1].Sec)
	for _, b.tier = range metric.Tiers {
		held := b.holding.heldBuckets(b.tier, dated)
		if len(held) == 0 {
			continue
		}
		if err := b.folder.fold(b.tier, held, b.emit); err != nil {
			return fmt.Errorf("add a chunk to the batch: %w", err)
		}
	}
	var at accountRun
	for i := range dated {
		if dated[i].Sec >= at.end {
			b.turn(&at, dated[i].Sec)
		}
		at.events += uint64(dated[i].Events)
	}
	b.settle(&at)
	return b.end(r)
}

// begin begins a row. last is the latest second that it will hold.
func (b *Batch) begin(r Ref, last metric.UnixSec) {
	b.one, b.ref = b.one[:0], r
	if b.lastMetric != r.metric { // rows of one metric often come together
		b.lastMetric, b.lastSeen = r.metric, 0
		b.holding = b.holdingOf(r.metric)
	}
	if last > b.lastSeen {
		b.lastSeen = last
		b.seen[r.metric] = max(b.seen[r.metric], last)
	}
}

func (b *Batch) holdingOf(metricNo uint32) *holding {
	if r, ok := b.newRetained[metricNo]; ok {
		return &b.holdings[r]
	}
	i, known := int(metricNo)-1, len(b.s.retained)
	if i < known {
		return &b.holdings[b.s.retained[i]]
	}
	panic("BUG: a metric without a retention")
}

// longRow is the length at which a row ends and the next one of its series begins:
// a series may have old timestamps in thousands of partitions. A run that is followed by
// another one of its place is as long, so that no row has two operands of one place.
const longRow = maxRun

// end ends a row.
func (b *Batch) end(r Ref) error {
	at, ok := b.operands.add(append(b.one, 0))
	if !ok {
		return fmt.Errorf("one batch holds more than %d GiB", maxChunks>>(30-arenaBits))
	}
	b.rows = append(b.rows, row{r, at})
	return nil
}

// appendOperand appends an operand of the tier that is being folded to the row.
func (b *Batch) appendOperand(partition uint32, run []byte) error {
	b.one = binary.AppendUvarint(b.one, uint64(b.placeNo(place{b.tier, partition})+1))
	b.one = binary.AppendUvarint(b.one, uint64(len(run)))
	b.one = append(b.one, run...)
	if len(b.one) < longRow {
		return nil
	}
	err := b.end(b.ref)
	b.one = b.one[:0]
	return err
}

func (b *Batch) placeNo(p place) int {
	for i := len(b.places) - 1; i >= max(0, len(b.places)-narrow); i-- {
		if b.places[i] == p {
			return i
		}
	}
	no, ok := b.placeOf[p]
	if !ok {
		no = len(b.places)
		b.placeOf[p] = no
		b.places = append(b.places, p)
	}
	return no
}

// AddAnnotations keeps annotations, the oldest first, and lets go of those that
// are too many.
func (b *Batch) AddAnnotations(list []metric.Annotation) {
	b.annotations = append(b.annotations, list...)
}

// Commit writes the batch, synced. After an error nothing of the batch counts and
// the same sums may be committed again, in another batch.
func (b *Batch) Commit() error {
	var err error
	large := len(b.rows)+len(b.sequences) >= b.s.bulkRows || b.operands.used() >= b.s.bulkBytes
	if large && len(b.removed)+len(b.gone) == 0 {
		err = b.s.ingest(b.write, len(b.places) > narrow)
	} else {
		err = b.s.apply(func(w pebbleBatch) error { return errors.Join(b.write(w), b.writeRemoved(w)) })
	}
	b.s.health.tell()
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	b.s.policyWritten = true
	if b.deletion != nil {
		_, _ = b.s.db.AsyncFlush() // once a table has the deletions, Pebble sees what it may drop; it fails where nothing may be written
	}
	return nil
}

// writer takes the keys of a batch, each once, those of a place, or without one, in
// ascending order: a Pebble batch, or tables.
type writer interface {
	Set(key, value []byte) error
	Merge(key, value []byte) error
	DeleteRange(start, end []byte) error
}

// sortRows sorts the rows by series. Series of one metric mostly come in the order
// of their numbers, so that one pass that sorts them by metric is enough.
func (b *Batch) sortRows() {
	byRef := func(x, y row) int {
		return cmp.Or(cmp.Compare(x.ref.metric, y.ref.metric), cmp.Compare(x.ref.series, y.ref.series), cmp.Compare(x.at, y.at))
	}
	start := make([]uint32, len(b.s.index.order)+len(b.newIDs)+2)
	for i := range b.rows {
		start[b.rows[i].ref.metric+1]++
	}
	for m := range start[1:] {
		start[m+1] += start[m]
	}
	sorted := b.spare[:0]
	sorted = slices.Grow(sorted, len(b.rows))[:len(b.rows)]
	for _, r := range b.rows {
		sorted[start[r.ref.metric]] = r
		start[r.ref.metric]++
	}
	b.rows, b.spare = sorted, b.rows
	if !slices.IsSortedFunc(b.rows, byRef) {
		slices.SortFunc(b.rows, byRef)
	}
}

// write writes everything.
func (b *Batch) write(w writer) error {
	byRef := func(x, y Ref) int { return cmp.Or(cmp.Compare(x.metric, y.metric), cmp.Compare(x.series, y.series)) }
	b.sortRows()
	slices.SortFunc(b.added, func(x, y newSeries) int { return byRef(x.ref, y.ref) })
	err := b.writeState(w)
	if err == nil {
		err = b.writeChunks(w)
	}
	if err == nil {
		err = b.writeIndex(w)
	}
	if err == nil {
		err = b.writeAnnotations(w)
	}
	if err == nil {
		err = b.writeSequences(w)
	}
	if err == nil {
		err = b.writeAccounts(w)
	}
	return err
}

// writeIndex writes new metrics, when each was seen last, and new series.
func (b *Batch) writeIndex(w writer) error {
	ids := slices.Clone(b.ids)
	slices.SortFunc(ids, func(x, y metric.ID) int { return cmp.Compare(b.newIDs[x], b.newIDs[y]) })
	for _, id := range ids {
		no := b.newIDs[id]
		if err := w.Set(metricKey(prefixMetric, no), append([]byte{byte(id.Kind)}, id.Name...)); err != nil {
			return err
		}
	}
	var seen []uint32
	for no, sec := range b.seen {
		if m := b.s.index.metric(no); m == nil || m.lastSeen < sec {
			seen = append(seen, no)
		}
	}
	slices.Sort(seen)
	for _, no := range seen {
		if err := w.Set(metricKey(prefixLastSeen, no), binary.AppendUvarint(nil, uint64(b.seen[no]))); err != nil {
			return err
		}
	}
	var key, tags []byte
	for i := range b.added {
		n := &b.added[i]
		key = appendSeriesKey(key[:0], n.ref.metric, n.ref.series)
		tags = append(tags[:0], n.tags...)
		if err := w.Set(key, tags); err != nil {
			return err
		}
	}
	return nil
}

// Publish brings the index, the cursor and the totals up to date with what was
// committed. It is apart from Commit so that the caller can do it, quickly, at
// the instant at which it takes a new snapshot.
func (b *Batch) Publish() {
	x := b.s.index
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, no := range b.newIDs {
		x.addMetric(id, no)
	}
	for no, r := range b.newRetained {
		for len(b.s.retained) < int(no) {
			b.s.retained = append(b.s.retained, 0)
		}
		b.s.retained[no-1] = r
	}
	x.metricNos.take(len(b.newIDs))
	x.seriesNos.take(len(b.added))
	for _, n := range b.added {
		x.addSeries(x.order[n.ref.metric-1], n.tags, n.ref.series)
	}
	b.publishRemoved()
	if w := b.s.written; w != nil {
		for i := range b.rows {
			w.series.Add(b.rows[i].ref.series)
		}
		for no := range b.seen {
			w.metrics.Add(no)
		}
	}
	for no, sec := range b.seen {
		if m := x.metric(no); m != nil {
			m.lastSeen = max(m.lastSeen, sec)
		}
	}
	b.s.cursor = b.cursor
	b.s.annotations += uint64(len(b.annotations))
	b.s.totals = b.newTotals()
	b.giveBack()
}

// maxScratch bounds what an idle store keeps after a large flush: the operands of
// a million series that count every second are some 60 MiB.
const maxScratch = 128 << 20

func (b *Batch) giveBack() {
	if b.operands.size() <= maxScratch {
		b.s.scratch = scratch{b.rows, b.spare, b.operands}
	}
	b.rows, b.spare, b.operands = nil, nil, arena{}
}

// Discard drops the batch.
func (b *Batch) Discard() { b.giveBack() }
