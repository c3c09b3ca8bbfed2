package reconcile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/bucket"
	"cairn/internal/flush"
	"cairn/internal/journal"
	"cairn/internal/metric"
	"cairn/internal/reference"
	"cairn/tsdb"
)

// counter counts again what records hold.
type counter struct {
	ctx     context.Context
	pace    func(context.Context) error
	cursor  tsdb.Cursor
	cells   *cells
	deleted func(metric.ID) uint64 // the position below which a metric's records may be of what was deleted
	names   dictionary
	begun   map[place]*begun
	wrong   list
	stored  uint64 // events that are in the store, as the records and the cursor say
	pending uint64 // and those that are not
	unnamed uint64 // events of which the journal of series does not say what they are
}

// place is a stripe of a run of the process.
type place struct {
	run    uint64
	stripe uint32
}

// begun is a delta whose last record has not come yet.
type begun struct {
	number uint64
	parts  []part
}

type part struct {
	pos    journal.Pos
	events uint64
	body   []byte
}

func (c *counter) record(pos journal.Pos, rec *journal.Record) error {
	err := c.pace(c.ctx)
	if err != nil {
		return err
	}
	switch rec.Kind {
	case ingest.RecordBatch:
		err = c.batch(pos, rec)
	case flush.KindDelta:
		err = c.delta(pos, rec)
	case flush.KindLost, flush.KindNotes:
	default:
		err = fmt.Errorf("a record of kind %d, which this version of cairn does not read; use the version that wrote it, or a newer one", rec.Kind)
	}
	if err != nil {
		return fmt.Errorf("the journal at %v: %w", pos, err)
	}
	return nil
}

// above reports whether a record was written after what the store holds.
func (c *counter) above(pos journal.Pos) bool { return uint64(pos) >= c.cursor.Cut }

// isStored reports whether the store has events of a second of the record at pos.
func (c *counter) isStored(pos journal.Pos, sec metric.UnixSec, events uint32) bool {
	if c.above(pos) || sec >= c.cursor.Watermark && uint64(pos) >= c.cursor.Oldest {
		c.pending += uint64(events)
		return false
	}
	c.stored += uint64(events)
	return true
}

// isDeleted reports whether the event at pos may have been deleted, and marks its second.
func (c *counter) isDeleted(pos journal.Pos, place uint32, sec metric.UnixSec) bool {
	if uint64(pos) >= c.deleted(c.cells.ids[place]) {
		return false
	}
	c.cells.lose(place, sec)
	return true
}

func (c *counter) batch(pos journal.Pos, rec *journal.Record) error {
	b, err := ingest.DecodeRecord(rec)
	if err != nil {
		return err
	}
	if c.above(pos) {
		c.pending += uint64(b.Verdict.Accepted)
		return nil
	}
	var events uint32
	if b.Structured {
		events, err = c.structured(pos, &b)
	} else {
		events, err = c.lines(pos, &b)
	}
	if err == nil && events != b.Verdict.Accepted {
		c.wrong.add(Difference{Metric: fmt.Sprintf("batch at %v of the journal", pos), Figure: "events", Expected: float64(events), Stored: float64(b.Verdict.Accepted)})
	}
	return err
}

// lines adds the lines of a batch, but for those that were rejected.
func (c *counter) lines(pos journal.Pos, b *ingest.Record) (events uint32, err error) {
	rules := reference.Rules{
		Dialect: b.Dialect.String(), OriginTags: b.OriginTags,
		Limits: metric.LineLimits{Line: math.MaxInt32, Name: math.MaxInt32, Tag: math.MaxInt32, Tags: math.MaxInt32},
		MaxAge: metric.MaxRetention, // by today's settings it may be too old
	}
	rejected := b.Verdict.Rejected
	n := uint32(0)
	for text := range bytes.SplitSeq(b.Body, []byte("\n")) {
		if err := c.pace(c.ctx); err != nil {
			return events, err
		}
		n++
		if len(rejected) > 0 && rejected[0].Line == n {
			rejected = rejected[1:]
			continue
		}
		line := string(bytes.TrimSuffix(text, []byte("\r")))
		if line == "" || reference.IsAnnotation(line) {
			continue
		}
		read, faults := rules.Read(line, b.Verdict.At.Sec())
		for r := range faults {
			c.wrong.add(Difference{Metric: fmt.Sprintf("line %d of the batch at %v of the journal: %s", n, pos, r), Figure: "events", Expected: 0, Stored: 1})
			break // it was accepted, and nothing says why
		}
		for i := range read {
			e := &read[i]
			x := event{id: metric.ID{Name: e.Name, Kind: e.Kind}, value: e.Value, weight: 1 / e.Rate, sum: e.Value / e.Rate, relative: e.Level == reference.Adjust, sec: e.Sec}
			if e.Kind == metric.Set {
				x.member = bucket.HashMember([]byte(e.Member))
			}
			c.event(pos, &x, b.Verdict.At)
		}
		events += uint32(len(read))
	}
	return events, nil
}

// event is one of a batch.
type event struct {
	id       metric.ID
	value    float64
	weight   float64 // how many events it stands for
	sum      float64 // value times weight
	member   uint64
	relative bool
	sec      metric.UnixSec // 0: that of arrival
}

func (c *counter) event(pos journal.Pos, e *event, arrived metric.UnixMilli) {
	sec := e.sec
	if sec == 0 {
		sec = arrived.Sec()
	}
	if !c.isStored(pos, sec, 1) {
		return
	}
	place := c.cells.place(e.id)
	if c.isDeleted(pos, place, sec) {
		return
	}
	switch e.id.Kind {
	case metric.Counter:
		c.cells.sum(place, sec, 1, e.sum)
	case metric.Gauge:
		late := min(max(int64(arrived)-int64(sec)*1000, 0), math.MaxUint32)
		c.cells.other(place, sec, 1, func(f *figures) {
			f.reading(e.value, bucket.At{Sec: sec, Late: uint32(late)})
			f.relative = f.relative || e.relative
		})
	case metric.Distribution:
		c.cells.other(place, sec, 1, func(f *figures) { f.observation(e.value, e.weight) })
	case metric.Set:
		c.cells.other(place, sec, 1, func(f *figures) { f.member(e.member) })
	}
}

// structured adds the events of a structured batch; ingest.RecordBatch draws them.
func (c *counter) structured(pos journal.Pos, b *ingest.Record) (events uint32, err error) {
	var x event
	num, den := 1.0, 1.0
	for rest := b.Body; len(rest) > 0; events++ {
		if err := c.pace(c.ctx); err != nil {
			return events, err
		}
		bad := fmt.Errorf("a structured batch of %d bytes: bad event at offset %d", len(b.Body), len(b.Body)-len(rest))
		flags := rest[0]
		rest = rest[1:]
		if flags&^0x0f != 0 || flags&4 != 0 && events == 0 {
			return events, bad
		}
		if flags&4 == 0 {
			var name, key []byte
			ok := false
			if name, rest, ok = cut(rest); ok {
				key, rest, ok = cut(rest)
			}
			if !ok || len(key) < 2 || key[0] != 0 {
				return events, bad
			}
			x.id = metric.ID{Name: string(name), Kind: metric.Kind(key[1] & 0x7f)}
			num, den = 1, 1
			if key[1]&0x80 != 0 {
				if len(key) < 18 {
					return events, bad
				}
				num = math.Float64frombits(binary.LittleEndian.Uint64(key[2:]))
				den = math.Float64frombits(binary.LittleEndian.Uint64(key[10:]))
			}
			if !x.id.Kind.Valid() || !(den > 0) {
				return events, bad
			}
		}
		x.sec = 0
		if flags&8 != 0 {
			d, n := binary.Varint(rest)
			if n <= 0 {
				return events, bad
			}
			x.sec, rest = b.Verdict.At.Sec()+metric.UnixSec(d), rest[n:]
		}
		if len(rest) < 8 {
			return events, bad
		}
		x.member = binary.LittleEndian.Uint64(rest)
		x.value, rest = math.Float64frombits(x.member), rest[8:]
		x.relative = flags&3 == byte(reference.Adjust)
		x.weight, x.sum = num/den, x.value*(num/den)
		c.event(pos, &x, b.Verdict.At)
	}
	return events, nil
}

func (c *counter) delta(pos journal.Pos, rec *journal.Record) error {
	h, err := flush.DecodeDeltaHead(rec.Head)
	if err != nil {
		return err
	}
	at := place{h.Run, h.Stripe}
	d := c.begun[at]
	if d == nil || d.number != h.Number {
		d = &begun{number: h.Number} // one that was begun before was written again
		c.begun[at] = d
	}
	p := part{pos: pos, events: rec.Events, body: rec.Body}
	if !h.Last {
		if p.body = nil; !c.above(pos) {
			p.body = slices.Clone(rec.Body)
		}
		d.parts = append(d.parts, p)
		return nil
	}
	delete(c.begun, at)
	for _, p := range append(d.parts, p) {
		if c.above(p.pos) {
			c.pending += p.events
		} else if err := c.partOf(h.Run, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) partOf(run uint64, p part) error {
	return agg.DecodeDelta(p.body, agg.DeltaVisitor{
		Sum: func(slot agg.Handle, sec metric.UnixSec, events uint32, sum float64) error {
			if i, ok := c.find(run, slot, metric.Counter, events); ok && c.isStored(p.pos, sec, events) && !c.isDeleted(p.pos, i, sec) {
				c.cells.sum(i, sec, events, sum)
			}
			return c.pace(c.ctx)
		},
		Bucket: func(slot agg.Handle, sec metric.UnixSec, events uint32, b bucket.Bucket) error {
			if i, ok := c.find(run, slot, b.Kind(), events); ok && c.isStored(p.pos, sec, events) && !c.isDeleted(p.pos, i, sec) {
				c.cells.other(i, sec, events, func(f *figures) { f.take(b) })
			}
			return c.pace(c.ctx)
		},
	})
}

// find returns the place of the metric of a handle. Events that nothing names any more
// are counted: whether they are in the store nobody knows.
func (c *counter) find(run uint64, slot agg.Handle, kind metric.Kind, events uint32) (uint32, bool) {
	i, ok := c.names.metric(run, uint32(slot))
	if !ok || c.cells.ids[i].Kind != kind {
		c.unnamed += uint64(events)
		return 0, false
	}
	return i, true
}
