package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// Cursor says how far the store has got: what of the journal is in it, and what is
// not. Positions are the journal's; the store only keeps them.
//
//	uvarint  watermark
//	uvarint  cut
//	uvarint  oldest
//	uvarint  journaled
//
// Format 1 had the watermark only.
type Cursor struct {
	Watermark metric.UnixSec // every bucket before it was flushed
	Cut       uint64         // the journal's end then: of buckets before Watermark, what is below is in the store
	Oldest    uint64         // no record below has an event that is not in the store
	Journaled uint64         // events in all records that were ever below Cut
}

// Totals counts what was ever stored, and what became of the rest.
//
//	uvarint  events
//	8 bytes  units, float64, little endian
//	uvarint  lost
//	uvarint  lost epoch
//	uvarint  duplicates
//	uvarint  amended
//	uvarint  expired
//	8 bytes  expired units
//	uvarint  deleted
//	8 bytes  deleted units
//	uvarint  deleted series
//	uvarint  before
//	8 bytes  before, units
//
// Format 1 had the events only, format 2 ended behind amended. At any instant
//
//	Events = events of all accounts + Expired + Deleted + Before
//
// and the same in units, but for rounding.
type Totals struct {
	Events     uint64  // stored
	Units      float64 // sum of the values of all counters' events stored
	Lost       uint64  // events lost in crashes
	LostEpoch  uint64  // the last run of the process whose loss is in Lost
	Duplicates uint64  // events of batches that came again
	Amended    uint64  // events of buckets that had been flushed

	Expired       uint64  // events that no tier holds any more, or ever did, for their age
	ExpiredUnits  float64 // of them, the counters'
	Deleted       uint64  // events that somebody deleted
	DeletedUnits  float64
	DeletedSeries uint64
	Before        uint64  // events that were stored before there were accounts
	BeforeUnits   float64 // so that nobody knows which of them are still there
}

func appendCursor(dst []byte, c Cursor) []byte {
	for _, v := range []uint64{uint64(c.Watermark), c.Cut, c.Oldest, c.Journaled} {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func decodeCursor(b []byte) (c Cursor, err error) {
	r := numbers{b: b}
	c.Watermark = metric.UnixSec(r.uvarint())
	if c.Watermark < 0 || c.Watermark > metric.MaxSec+1 {
		r.bad = true
	}
	if r.more() {
		c.Cut, c.Oldest, c.Journaled = r.uvarint(), r.uvarint(), r.uvarint()
	}
	return c, r.end("cursor")
}

func appendTotals(dst []byte, t Totals) []byte {
	dst = binary.AppendUvarint(dst, t.Events)
	dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(t.Units))
	for _, v := range []uint64{t.Lost, t.LostEpoch, t.Duplicates, t.Amended} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = appendFloat(binary.AppendUvarint(dst, t.Expired), t.ExpiredUnits)
	dst = appendFloat(binary.AppendUvarint(dst, t.Deleted), t.DeletedUnits)
	dst = binary.AppendUvarint(dst, t.DeletedSeries)
	return appendFloat(binary.AppendUvarint(dst, t.Before), t.BeforeUnits)
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

func decodeTotals(b []byte) (t Totals, err error) {
	r := numbers{b: b}
	t.Events = r.uvarint()
	if r.more() {
		t.Units = r.float()
		t.Lost, t.LostEpoch, t.Duplicates, t.Amended = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	}
	if r.more() {
		t.Expired, t.ExpiredUnits = r.uvarint(), r.float()
		t.Deleted, t.DeletedUnits, t.DeletedSeries = r.uvarint(), r.float(), r.uvarint()
		t.Before, t.BeforeUnits = r.uvarint(), r.float()
	} else {
		t.Before, t.BeforeUnits = t.Events, t.Units
	}
	return t, r.end("totals")
}

// numbers reads numbers one after the other.
type numbers struct {
	b   []byte
	at  int
	bad bool
}

func (r *numbers) more() bool { return !r.bad && r.at < len(r.b) }

func (r *numbers) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.at += n
	return v
}

func (r *numbers) float() float64 {
	if len(r.b)-r.at < 8 {
		r.bad = true
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b[r.at:])
	r.at += 8
	return math.Float64frombits(v)
}

// end returns an error unless all was read, and nothing else was there.
func (r *numbers) end(what string) error {
	if r.bad || r.at != len(r.b) {
		return fmt.Errorf("%x is no %s: it stops making sense at offset %d", r.b, what, r.at)
	}
	return nil
}

// get returns the value of a key as decode reads it; the zero value if the key is not
// there.
func get[T any](db pebble.Reader, key []byte, decode func([]byte) (T, error)) (v T, err error) {
	b, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return v, nil
	}
	if err == nil {
		v, err = decode(b)
		err = errors.Join(err, closer.Close())
	}
	if err != nil {
		return v, fmt.Errorf("read %q: %w", key[1:], err)
	}
	return v, nil
}

// Cursor returns that of the last committed batch; the zero Cursor in a new store.
func (s *Store) Cursor() Cursor {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.cursor
}

// Cursor returns that of the last batch in the snapshot.
func (sn *Snapshot) Cursor() (Cursor, error) { return get(sn.snap, keyCursor, decodeCursor) }

// Totals returns those of the last committed batch.
func (s *Store) Totals() Totals {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.totals
}

// SetCursor says how far the store has got with this batch.
func (b *Batch) SetCursor(c Cursor) { b.cursor = c }

// SetTotals sets what the store does not add up itself: Lost, LostEpoch, Duplicates and
// Amended. Nothing else is read.
func (b *Batch) SetTotals(t Totals) { b.totals = t }

// newTotals returns the totals with this batch in them.
func (b *Batch) newTotals() Totals {
	t := b.s.totals
	t.Lost, t.LostEpoch, t.Duplicates, t.Amended = b.totals.Lost, b.totals.LostEpoch, b.totals.Duplicates, b.totals.Amended
	t.Events += b.events
	t.Units += b.units
	t.Expired += b.expired.events
	t.ExpiredUnits += b.expired.units
	if d := b.deletion; d != nil {
		t.Deleted += d.Events
		t.DeletedUnits += d.Units
		t.DeletedSeries += uint64(d.Series)
	}
	return t
}

// writeState writes the cursor and the totals.
func (b *Batch) writeState(w writer) error {
	err := w.Set(keyCursor, appendCursor(nil, b.cursor))
	if err == nil {
		err = b.s.writePolicies(w) // what follows was kept by it
	}
	if err == nil {
		err = w.Set(keyTotals, appendTotals(nil, b.newTotals()))
	}
	return err
}

// Totals returns those of the last batch in the snapshot.
func (sn *Snapshot) Totals() (Totals, error) { return get(sn.snap, keyTotals, decodeTotals) }
