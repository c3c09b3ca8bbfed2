package flush

import (
	"encoding/binary"
	"errors"
	"fmt"

	"cairn/internal/journal"
	"cairn/internal/metric"
)

// Kinds of records in the journal. 1 is a batch: ingest says what is in it.
const (
	KindDelta journal.Kind = 2
	KindLost  journal.Kind = 3
	KindNotes journal.Kind = 4
)

// KindSeries is the only kind in the journal of series.
const KindSeries journal.Kind = 1

// recordVersion is the first byte of the head of every record that this package
// writes.
const recordVersion = 1

// DeltaHead is the head of a delta's record. Its body is one of agg.Delta's.
//
//	byte     version: 01
//	8 bytes  run of the process, little endian
//	uvarint  stripe
//	uvarint  number of the delta, counted up in the run
//	uvarint  events of the stripe that are in the journal with this delta
//	byte     1: the last record of the delta; 0: more follow
//
// A delta counts once its last record is there: what was begun and not ended was
// written again in whole, under another number.
type DeltaHead struct {
	Run    uint64
	Stripe uint32
	Number uint64
	Kept   uint64
	Last   bool
}

// Append appends the head's bytes to dst.
func (h *DeltaHead) Append(dst []byte) []byte {
	dst = append(dst, recordVersion)
	dst = binary.LittleEndian.AppendUint64(dst, h.Run)
	dst = binary.AppendUvarint(dst, uint64(h.Stripe))
	dst = binary.AppendUvarint(dst, h.Number)
	dst = binary.AppendUvarint(dst, h.Kept)
	return append(dst, flag(h.Last))
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// DecodeDeltaHead reads what Append wrote.
func DecodeDeltaHead(b []byte) (h DeltaHead, err error) {
	r := headReader{b: b}
	h.Run = r.begin()
	h.Stripe = uint32(r.uvarint())
	h.Number = r.uvarint()
	h.Kept = r.uvarint()
	h.Last = r.byte() == 1
	return h, r.end("delta")
}

// Lost is a record without a body: what a run of the process had accepted and not
// journaled when it was killed.
//
//	byte     version: 01
//	8 bytes  run, little endian
//	uvarint  events
//	byte     1: exactly; 0: at least, because the machine went down too
type Lost struct {
	Run    uint64
	Events uint64
	Exact  bool
}

// Append appends the record's head to dst.
func (l *Lost) Append(dst []byte) []byte {
	dst = append(dst, recordVersion)
	dst = binary.LittleEndian.AppendUint64(dst, l.Run)
	dst = binary.AppendUvarint(dst, l.Events)
	return append(dst, flag(l.Exact))
}

// DecodeLost reads what Append wrote.
func DecodeLost(b []byte) (l Lost, err error) {
	r := headReader{b: b}
	l.Run = r.begin()
	l.Events = r.uvarint()
	l.Exact = r.byte() == 1
	return l, r.end("loss")
}

type headReader struct {
	b   []byte
	bad bool
}

var errHead = errors.New("not a head that this version of cairn reads; use the version that wrote the journal, or a newer one")

func (r *headReader) begin() (run uint64) {
	if r.byte() != recordVersion || len(r.b) < 8 {
		r.bad = true
		return 0
	}
	run = binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return run
}

func (r *headReader) byte() byte {
	if r.bad || len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *headReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *headReader) end(what string) error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("record of a %s: %w", what, errHead)
	}
	return nil
}

// Dictionary tells which series the handles of a run were.
//
// The journal of series holds, for each run of the process, all series in the order
// of their handles, some a record:
//
//	head
//	  byte     version: 01
//	  8 bytes  run, little endian
//	  uvarint  handle of the first series in the body
//	body, for each series
//	  byte     kind
//	  uvarint  length
//	  bytes    name
//	  uvarint  length
//	  bytes    tagset
type Dictionary struct {
	runs map[uint64][]metric.Series
}

// Series returns the series that a handle was in a run.
func (d *Dictionary) Series(run uint64, handle uint32) (metric.Series, bool) {
	list := d.runs[run]
	if uint64(handle) >= uint64(len(list)) || list[handle].Kind == 0 {
		return metric.Series{}, false
	}
	return list[handle], true
}

// Len returns how many handles of a run there may be names for.
func (d *Dictionary) Len(run uint64) int { return len(d.runs[run]) }

// Add takes a record of the journal of series.
func (d *Dictionary) Add(rec *journal.Record) error {
	r := headReader{b: rec.Head}
	run, first := r.begin(), r.uvarint()
	if err := r.end("series"); err != nil {
		return err
	}
	if d.runs == nil {
		d.runs = make(map[uint64][]metric.Series)
	}
	if first > uint64(len(d.runs[run])) { // what is between was damaged: those stay unknown
		if first > maxHandle {
			return fmt.Errorf("record of series: handle %d", first)
		}
		d.runs[run] = append(d.runs[run], make([]metric.Series, first-uint64(len(d.runs[run])))...)
	}
	text := string(rec.Body) // what the series are parts of
	for at := 0; at < len(text); {
		kind := metric.Kind(text[at])
		at++
		name, n := cutText(text[at:])
		at += n
		tags, m := cutText(text[at:])
		at += m
		if n == 0 || m == 0 || kind < metric.Counter || kind > metric.Set {
			return fmt.Errorf("record of series: kind %d at offset %d of %d", kind, at, len(text))
		}
		s := metric.Series{ID: metric.ID{Name: name, Kind: kind}, Tags: metric.Tagset(tags)}
		if first < uint64(len(d.runs[run])) {
			d.runs[run][first] = s
		} else {
			d.runs[run] = append(d.runs[run], s)
		}
		first++
	}
	return nil
}

// maxHandle bounds what is believed of a handle: --max-series is less.
const maxHandle = 1 << 28

// cutText cuts a text with its length off s; n is 0 if there is none.
func cutText(s string) (text string, n int) {
	size, shift := uint64(0), 0
	for n < len(s) && n < 5 {
		c := s[n]
		n++
		size |= uint64(c&0x7f) << shift
		shift += 7
		if c < 0x80 {
			if size > uint64(len(s)-n) {
				return "", 0
			}
			return s[n : n+int(size)], n + int(size)
		}
	}
	return "", 0
}

func appendSeries(dst []byte, s metric.Series) []byte {
	dst = append(dst, byte(s.Kind))
	dst = binary.AppendUvarint(dst, uint64(len(s.Name)))
	dst = append(dst, s.Name...)
	dst = binary.AppendUvarint(dst, uint64(len(s.Tags)))
	return append(dst, s.Tags...)
}
