package agg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// A Delta is what came to a stripe since the last one that was kept: the sums and
// buckets that have left their slots. It is what the journal needs to know, and
// costs by active series, not by events.
//
//	section, one behind the other
//	  uvarint   second << 1 | 1 if buckets follow, 0 if sums do
//	  uvarint   entries
//	  for each sum
//	    varint    slot - the previous one's in the section, 0 before the first
//	    uvarint   events << 2 | form
//	    form 0    nothing: the sum is the number of events
//	    form 1    varint: the sum, a whole number within ±2^53
//	    form 2    8 bytes: the sum, float64, little endian
//	  for each bucket
//	    varint    slot, in the same way
//	    uvarint   events
//	    byte      kind
//	    uvarint   length
//	    bytes     the bucket
type Delta struct {
	s       *Stripe
	seconds []deltaSecond
	Events  uint64
}

type deltaSecond struct {
	sec     metric.UnixSec
	b       *second
	sums    partials // the whole list
	packed  []packed
	buckets []bucketPartial
	from    extentOf
}

// KeepDeltas makes Detach leave alone what no Delta has kept yet.
func (s *Stripe) KeepDeltas() { s.deltas = true }

// KeepsDeltas reports whether KeepDeltas was called.
func (s *Stripe) KeepsDeltas() bool { return s.deltas }

// Delta returns what came since the last Delta that was kept. Spill comes before
// it, or the current sums stay behind. It must be given up, or kept, before Pack or
// Detach run.
func (s *Stripe) Delta() *Delta {
	d := &Delta{s: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	for sec, b := range s.seconds {
		if b.kept == b.extent() {
			continue
		}
		b.stamped = nil // entries there are stay as they are
		d.seconds = append(d.seconds, deltaSecond{sec, b, b.partials, b.packed, b.buckets, b.kept})
	}
	return d
}

// Empty reports whether nothing came.
func (d *Delta) Empty() bool { return len(d.seconds) == 0 }

// sectionEntries bounds what one section holds, so that a body can end between two.
const sectionEntries = 1024

// Encode calls emit with bodies that are little longer than limit. A body is only
// valid during the call; events is how many it holds, and last their latest second.
func (d *Delta) Encode(limit int, emit func(body []byte, events uint64, last metric.UnixSec) error) error {
	e := deltaEncoder{limit: limit, emit: emit}
	d.Events = 0
	for i := range d.seconds {
		s := &d.seconds[i]
		e.sec, e.bucketed = s.sec, false
		for k := s.from.sums; k < s.sums.n; k++ {
			e.sum(s.sums.at(k))
		}
		for k := range s.packed[s.from.packed:] {
			p := &s.packed[s.from.packed+k]
			for b := range len(p.blocks) - 1 {
				walkBlock(p.block(b), b, func(p partial) { e.sum(&p) })
			}
		}
		e.endSection()
		e.bucketed = true
		for k := s.from.buckets; k < len(s.buckets); k++ {
			e.bucket(&s.buckets[k])
		}
		e.endSection()
	}
	e.endBody()
	d.Events = e.all
	return e.err
}

// Keep says that what Encode gave out is safe: it may be detached from now on.
func (d *Delta) Keep() {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.s.kept += d.Events
	if d.s.keptTally != nil {
		atomic.StoreUint64(d.s.keptTally, d.s.kept)
	}
	for i := range d.seconds {
		s := &d.seconds[i]
		s.b.kept = extentOf{s.sums.n, len(s.packed), len(s.buckets)}
	}
}

type deltaEncoder struct {
	limit    int
	emit     func([]byte, uint64, metric.UnixSec) error
	sec      metric.UnixSec
	bucketed bool
	section  []byte // its entries
	entries  int
	prev     uint32
	body     []byte
	scratch  []byte
	last     metric.UnixSec
	events   uint64 // in body and section
	all      uint64
	err      error // the first one of emit
}

func (e *deltaEncoder) sum(p *partial) {
	e.section = binary.AppendVarint(e.section, int64(p.slot)-int64(e.prev))
	e.prev = p.slot
	switch {
	case p.sum == float64(p.n):
		e.section = binary.AppendUvarint(e.section, uint64(p.n)<<2|formCount)
	case p.sum == math.Trunc(p.sum) && math.Abs(p.sum) <= maxWhole:
		e.section = binary.AppendUvarint(e.section, uint64(p.n)<<2|formWhole)
		e.section = binary.AppendVarint(e.section, int64(p.sum))
	default:
		e.section = binary.AppendUvarint(e.section, uint64(p.n)<<2|formFloat)
		e.section = binary.LittleEndian.AppendUint64(e.section, math.Float64bits(p.sum))
	}
	e.entry(p.n)
}

func (e *deltaEncoder) bucket(p *bucketPartial) {
	e.section = binary.AppendVarint(e.section, int64(p.slot)-int64(e.prev))
	e.prev = p.slot
	e.section = binary.AppendUvarint(e.section, uint64(p.n))
	e.section = append(e.section, byte(p.b.Kind()))
	e.scratch = p.b.Append(e.scratch[:0], e.sec)
	e.section = binary.AppendUvarint(e.section, uint64(len(e.scratch)))
	e.section = append(e.section, e.scratch...)
	e.entry(p.n)
}

func (e *deltaEncoder) entry(events uint32) {
	e.events += uint64(events)
	if e.entries++; e.entries == sectionEntries || len(e.section) >= e.limit {
		e.endSection()
	}
}

func (e *deltaEncoder) endSection() {
	if e.entries == 0 {
		return
	}
	head := uint64(e.sec) << 1
	if e.bucketed {
		head |= 1
	}
	e.body = binary.AppendUvarint(e.body, head)
	e.body = binary.AppendUvarint(e.body, uint64(e.entries))
	e.body = append(e.body, e.section...)
	e.section, e.entries, e.prev = e.section[:0], 0, 0
	e.last = max(e.last, e.sec)
	if len(e.body) >= e.limit {
		e.endBody()
	}
}

func (e *deltaEncoder) endBody() {
	if len(e.body) > 0 && e.err == nil {
		e.err = e.emit(e.body, e.events, e.last)
	}
	e.all += e.events
	e.body, e.events, e.last = e.body[:0], 0, 0
}

// DeltaVisitor takes what a body of a Delta holds. slot is the Handle that the
// series had in the process that wrote it.
type DeltaVisitor struct {
	Sum    func(slot Handle, sec metric.UnixSec, events uint32, sum float64) error
	Bucket func(slot Handle, sec metric.UnixSec, events uint32, b bucket.Bucket) error // b is the visitor's
}

// DecodeDelta reads a body. Whatever its bytes are, it ends with an error at the
// worst.
func DecodeDelta(body []byte, v DeltaVisitor) error {
	r := deltaReader{all: len(body), rest: body}
	for len(r.rest) > 0 && r.err == nil {
		head, entries := r.uvarint(), r.uvarint()
		sec := metric.UnixSec(head >> 1)
		if sec > metric.MaxSec || entries > sectionEntries {
			r.fail("second %d with %d entries", sec, entries)
		}
		prev := int64(0)
		for range entries {
			prev += r.varint()
			if prev < 0 || prev > math.MaxUint32 {
				r.fail("slot %d", prev)
			}
			if r.err != nil {
				break
			}
			if head&1 == 0 {
				r.sum(Handle(prev), sec, v)
			} else {
				r.bucket(Handle(prev), sec, v)
			}
		}
	}
	return r.err
}

type deltaReader struct {
	all  int
	rest []byte
	err  error
}

func (r *deltaReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("delta of %d bytes: at offset %d: %w", r.all, r.all-len(r.rest), fmt.Errorf(format, args...))
		r.rest = nil
	}
}

var errDeltaEnds = errors.New("ends in the middle of a value")

func (r *deltaReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("%w", errDeltaEnds)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *deltaReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("%w", errDeltaEnds)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *deltaReader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail("%w", errDeltaEnds)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *deltaReader) sum(slot Handle, sec metric.UnixSec, v DeltaVisitor) {
	head := r.uvarint()
	events, sum := head>>2, 0.0
	switch head & 3 {
	case formCount:
		sum = float64(events)
	case formWhole:
		sum = float64(r.varint())
	case formFloat:
		if b := r.take(8); b != nil {
			sum = math.Float64frombits(binary.LittleEndian.Uint64(b))
		}
	default:
		r.fail("a sum of form 3")
	}
	if events == 0 || events > math.MaxUint32 || math.IsNaN(sum) || math.IsInf(sum, 0) {
		r.fail("%d events with the sum %g", events, sum)
	}
	if r.err == nil {
		r.err = v.Sum(slot, sec, uint32(events), sum)
	}
}

func (r *deltaReader) bucket(slot Handle, sec metric.UnixSec, v DeltaVisitor) {
	events := r.uvarint()
	kind := r.take(1)
	data := r.take(r.uvarint())
	if r.err != nil {
		return
	}
	k := metric.Kind(kind[0])
	if events == 0 || events > math.MaxUint32 || k != metric.Gauge && k != metric.Distribution && k != metric.Set {
		r.fail("%d events of kind %d", events, k)
		return
	}
	b := bucket.New(k)
	if err := b.Decode(data, sec); err != nil {
		r.fail("%w", err)
		return
	}
	r.err = v.Bucket(slot, sec, uint32(events), b)
}

// Restore adds what a Delta held to the second that it was of. No limit refuses it.
// It is an entry of its own: nearly all that a journal holds are of other series or
// seconds, and to find the few that are not would cost more than all else of a replay.
// The caller holds the lock.
func (s *Stripe) Restore(h Handle, sec metric.UnixSec, events uint32, sum float64) {
	i := s.slotFor(h, metric.Counter)
	s.accepted += uint64(events)
	s.open += uint64(events)
	s.push(s.second(sec), sec, partial{slot: i, n: events, sum: sum})
}

// RestoreBucket is Restore for kinds that are no counters. x is the stripe's from
// now on.
func (s *Stripe) RestoreBucket(h Handle, sec metric.UnixSec, events uint32, x bucket.Bucket) {
	i := s.slotFor(h, x.Kind())
	s.accepted += uint64(events)
	s.open += uint64(events)
	s.pushBucket(s.second(sec), sec, bucketPartial{slot: i, n: events, b: x})
}
