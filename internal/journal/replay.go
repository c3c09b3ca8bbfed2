package journal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/metric"
)

// Damage is a stretch of the log that cannot be read.
type Damage struct {
	Path   string // of the segment
	Pos    Pos    // where it begins
	Bytes  int64  // 0: the whole segment is missing
	Events uint64 // lost by it
	Exact  bool   // Events is known; else it is only what is known so far
	What   string
}

func (d Damage) String() string {
	lost := fmt.Sprintf("%d events are lost", d.Events)
	if !d.Exact {
		lost = "how many events are lost is not known"
	}
	return fmt.Sprintf("%s at offset %d: %s (%d bytes); %s", d.Path, d.Pos.offset(), d.What, d.Bytes, lost)
}

// Recovery is what reading a log found.
type Recovery struct {
	Records uint64 // visited
	Events  uint64 // in them
	End     Pos    // behind the last record that was read
	Base    uint64 // events of all records before the first one that was visited
	Total   uint64 // events of all records up to End
	// Torn counts segments with a tail that a crash cut; it was never acknowledged.
	Torn      int64
	TornBytes int64
	Damage    []Damage
}

// Lost returns the events that are known to be lost.
func (r *Recovery) Lost() (events uint64) {
	for _, d := range r.Damage {
		events += d.Events
	}
	return events
}

// DamagedError is returned by Read after it has read everything that can be read.
type DamagedError struct{ Damage []Damage }

func (e *DamagedError) Error() string {
	var list []string
	for _, d := range e.Damage {
		list = append(list, d.String())
	}
	return "the journal is damaged: " + strings.Join(list, "; ")
}

// reader reads the records of a chain.
type reader struct {
	fs       vfs.FS
	dir      string
	from, to Pos
	visit    func(Pos, *Record) error
	damage   func(s *segment, d Damage) // called for each stretch as it is found

	r     Recovery
	known bool // r.Total is
	begun bool // r.Base is
	open  int  // of r.Damage, from here on the loss is not known yet
}

// read reads the segments, oldest first.
func (r *reader) read(segments []*segment) error {
	if r.to == 0 {
		r.to = 1<<64 - 1
	}
	first := true
	for i, s := range segments {
		if i+1 < len(segments) && r.from >= segments[i+1].start() || s.start() >= r.to {
			continue
		}
		gap := r.from != 0 && s.prev > r.from
		if !first {
			gap = s.prev.segment() != segments[i-1].number
		}
		if gap && s.readable {
			r.found(s, Damage{Path: r.path(s.prev.segment()), Pos: posOf(s.prev.segment(), 0), What: "the segment is missing"})
		}
		first = false
		if err := r.segment(s); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) path(number uint32) string { return r.fs.PathJoin(r.dir, segmentName(number)) }

func (r *reader) segment(s *segment) (err error) {
	f, err := scan(r.fs, r.dir, s.number)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	switch {
	case f.readable:
		r.meet(s, headerLen, f.base)
	case r.from > s.start():
		r.known = false
	default:
		r.found(s, Damage{Path: f.path, Pos: posOf(s.number, 0), Bytes: headerLen, What: "the header is not readable"})
	}
	var last metric.UnixSec
	err = f.walk(s.end, func(off int64, fr frame, head, stored []byte) (bool, error) {
		pos := posOf(s.number, off)
		if pos >= r.to {
			return true, errEnough
		}
		rec := Record{Kind: fr.kind, Head: head, Events: fr.events, Last: fr.last}
		wanted := pos >= r.from && fr.kind != kindSeal
		if wanted {
			var ok bool
			if rec.Body, ok = f.decode(stored); !ok {
				return false, nil
			}
		}
		last = max(last, fr.last)
		r.meet(s, off, fr.total-fr.events)
		r.r.Total, r.r.End = fr.total, pos+Pos(fr.size())
		if !wanted {
			return true, nil
		}
		if !r.begun {
			r.begun, r.r.Base = true, fr.total-fr.events
		}
		r.r.Records++
		r.r.Events += fr.events
		return true, r.visit(pos, &rec)
	}, func(off, end int64) error {
		if posOf(s.number, end) > r.from {
			r.found(s, Damage{Path: f.path, Pos: posOf(s.number, off), Bytes: end - off, What: "records are damaged"})
		} else {
			r.known = false // what is lost there was lost before
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	s.last, s.known = last, true
	return err
}

var errEnough = errors.New("enough")

func (r *reader) found(s *segment, d Damage) {
	s.damaged = true
	r.r.Damage = append(r.r.Damage, d)
	r.damage(s, d)
}

// meet is called where the events up to here are known again: what is more than was
// read is lost.
func (r *reader) meet(s *segment, off int64, total uint64) {
	if r.known && total != r.r.Total && r.open == len(r.r.Damage) {
		r.found(s, Damage{Path: r.path(s.number), Pos: posOf(s.number, off), What: fmt.Sprintf("the events before it should be %d and are %d", total, r.r.Total)})
	}
	for i := range r.r.Damage[r.open:] {
		d := &r.r.Damage[r.open+i]
		d.Exact = r.known && total >= r.r.Total
		if i == 0 && d.Exact {
			d.Events = total - r.r.Total // those of a run of damage are counted at its first
		}
	}
	r.open = len(r.r.Damage)
	r.known, r.r.Total = true, total
}

// Replay calls visit for each record from a position on that was there at Open. It
// comes before the first Release; Appends may run meanwhile. What is damaged is
// copied to quarantine.
func (l *Log) Replay(from Pos, visit func(Pos, *Record) error) (Recovery, error) {
	r := reader{fs: l.o.FS, dir: l.dir, from: from, visit: visit, damage: l.quarantine}
	err := r.read(l.old.segments)
	r.complete(l.old)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, old := range l.old.segments {
		for _, s := range l.segments {
			if s.number == old.number {
				s.damaged = s.damaged || old.damaged
				s.last, s.known = old.last, old.known || posOf(s.number, s.end) <= from
			}
		}
	}
	l.stats.Torn += uint64(r.r.Torn)
	l.stats.Damaged += uint64(len(r.r.Damage))
	return r.r, err
}

// complete adds what was found when the chain was loaded.
func (r *reader) complete(c *chain) {
	r.r.Torn, r.r.TornBytes = c.tail.segments, c.tail.bytes
	if n := len(c.segments); n > 0 && r.r.End == 0 {
		r.r.End = posOf(c.segments[n-1].number, c.segments[n-1].end)
	}
	if !r.known {
		r.r.Total = c.total
	}
}

// Read calls visit for the records in [from, to) of a log that nobody has open; to 0
// is the end. Nothing is written.
func Read(fsys vfs.FS, dir string, from, to Pos, visit func(Pos, *Record) error) (Recovery, error) {
	c, err := load(fsys, dir)
	if err != nil {
		return Recovery{}, err
	}
	r := reader{fs: fsys, dir: dir, from: from, to: to, visit: visit, damage: func(*segment, Damage) {}}
	err = r.read(c.segments)
	r.complete(c)
	return r.r, err
}

// Read calls visit for the records in [from, to) that were durable when it was called;
// to 0 is all of them. Segments that it has not read yet are not released meanwhile.
// Damage is passed over and returned at the end, as a *DamagedError.
func (l *Log) Read(from, to Pos, visit func(Pos, *Record) error) error {
	segments, pin, err := l.pin(from)
	if err != nil {
		return err
	}
	defer l.unpin(pin)
	r := reader{fs: l.o.FS, dir: l.dir, from: from, to: to, damage: func(*segment, Damage) {}}
	r.visit = func(p Pos, rec *Record) error {
		if p.segment() != pin.segment() {
			l.mu.Lock()
			*pin = p
			l.mu.Unlock()
		}
		return visit(p, rec)
	}
	if err := r.read(segments); err != nil {
		return err
	}
	if len(r.r.Damage) > 0 {
		return &DamagedError{r.r.Damage}
	}
	return nil
}

// pin copies what is known of the segments from a position on, up to what is durable,
// and keeps them from being released.
func (l *Log) pin(from Pos) ([]*segment, *Pos, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	segments := l.kept()
	pin := from
	if len(segments) > 0 {
		if from != 0 && from < segments[0].start() {
			return nil, nil, fmt.Errorf("%w: %v was asked for, and it begins at %v", ErrReleased, from, segments[0].start())
		}
		// The last one is looked at even if from lies behind it.
		pin = min(max(pin, segments[0].start()), segments[len(segments)-1].start())
	}
	l.pins[&pin] = struct{}{}
	return segments, &pin, nil
}

// kept copies what is known of the segments, up to what is durable. The caller holds mu.
func (l *Log) kept() (segments []*segment) {
	for _, s := range l.segments {
		if !s.made || s.number > l.durable.segment() {
			break
		}
		copied := *s
		if s.number == l.durable.segment() {
			copied.end = l.durable.offset()
		}
		segments = append(segments, &copied)
	}
	return segments
}

func (l *Log) unpin(p *Pos) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pins, p)
}
