package journal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/clock"
	"cairn/internal/dirsync"
	"cairn/internal/metric"
)

const (
	// segmentBytes is the usual size of a segment: large enough that making one costs
	// nothing, small enough that what is not needed any more goes soon.
	segmentBytes = 64 << 20
	// maxSegmentBytes leaves room for the longest record below the end of offsets.
	maxSegmentBytes = 1 << 30
	// MaxPending bounds what waits for the disk. Callers have a gate of their own,
	// which is narrower; behind it, this is four of the longest records.
	MaxPending = 256 << 20
)

// Options says where a log is and what it promises.
type Options struct {
	FS           vfs.FS       // nil: the disk
	Log          *slog.Logger // nil: nothing is logged
	Clock        clock.Clock
	Sync         bool          // false: records are written, and the kernel decides when they are durable
	SegmentBytes int64         // 0: 64 MiB
	Retention    time.Duration // how long segments are kept that nobody needs to recover
	RetainBytes  int64         // but no more of them than this
	Epoch        uint64        // for the headers of new segments
	// After is a position that the caller remembers: new records get later ones, also
	// if the segment that it lies in was lost or never made.
	After  Pos
	Failed func(error) // called once, after a failed fsync; the log takes nothing any more
}

var (
	// ErrNoSpace is what a record gets for which the disk had no room. It is not in the
	// journal; the next ones are tried again.
	ErrNoSpace = errors.New("no space left for the journal")
	// ErrFailed is what every record gets after an fsync has failed.
	ErrFailed = errors.New("the journal has failed")
	// ErrFull is what a record gets while MaxPending bytes wait for the disk.
	ErrFull = errors.New("the journal is behind")
	// ErrClosed is what a record gets after Close.
	ErrClosed = errors.New("the journal is closed")
	// ErrReleased is returned by Read where the position is not kept any more.
	ErrReleased = errors.New("the journal does not go back that far")
)

// Log is an open log. Its methods are safe for concurrent use.
type Log struct {
	o    Options
	dir  string
	old  *chain // as it was at Open; Replay's
	pool sync.Pool
	done chan struct{} // closed when the writer has ended

	// Of the writer only.
	file   vfs.File       // of the segment it writes to; nil: none
	number uint32         // of it
	made   metric.UnixSec // when the last one was, at the earliest
	buf    []byte

	releasing sync.Mutex // held by Release; guards needed
	needed    Pos        // what lies before is not needed to recover

	mu       sync.Mutex // guards everything below
	work     sync.Cond  // there is a group, or the log is closing
	segments []*segment // oldest first; the last ones may not have been made yet
	salt     salt       // of the segment that is appended to
	at       Pos        // behind the last record that was appended
	total    uint64     // events up to there
	durable  Pos        // behind the last record that is on the disk
	stored   uint64     // events up to there
	groups   []*group   // what waits for the writer, oldest first
	pending  int64      // bytes of groups, and of those that are being written
	pins     map[*Pos]struct{}
	void     []uint32
	failed   error // sticky
	closing  bool
	stats    Stats
}

// group is the records that become durable together. They lie in one segment.
type group struct {
	segment *segment
	start   int64
	end     int64
	total   uint64 // events, behind it
	bytes   int64
	records [][]byte
	done    chan struct{}
	err     error // may be read when done is closed
}

// Ticket is a record's place in the log.
type Ticket struct {
	group *group
	pos   Pos
}

// Pos returns where the record is, if Wait returns nil.
func (t *Ticket) Pos() Pos { return t.pos }

// Wait waits until the record is durable, and returns nil, or an error if it never
// will be: then it is not in the log.
func (t *Ticket) Wait() error {
	<-t.group.done
	return t.group.err
}

// refused is the ticket of a record that was not taken.
func refused(err error) *Ticket {
	done := make(chan struct{})
	close(done)
	return &Ticket{group: &group{err: err, done: done}}
}

// Open opens the log in dir, which it makes if it is not there. Appends go to a new
// segment.
func Open(dir string, o Options) (*Log, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = segmentBytes
	}
	o.SegmentBytes = min(o.SegmentBytes, maxSegmentBytes)
	if err := dirsync.Make(o.FS, dir); err != nil {
		return nil, fmt.Errorf("make the journal %q: %w", dir, err)
	}
	c, err := load(o.FS, dir)
	if err != nil {
		return nil, err
	}
	if err := markDamaged(o.FS, dir, c.segments); err != nil {
		return nil, err
	}
	l := &Log{o: o, dir: dir, old: c, done: make(chan struct{}), pins: map[*Pos]struct{}{}, void: c.void}
	l.work.L = &l.mu
	l.total, l.stored = c.total, c.total
	if n := len(c.segments); n > 0 {
		s := c.segments[n-1]
		l.durable = posOf(s.number, s.end)
		l.made = max(s.created, s.latest-metric.MaxFuture)
	}
	for _, s := range c.segments {
		copied := *s
		l.segments = append(l.segments, &copied)
	}
	l.at = posOf(max(c.newest, o.After.segment()), 0)
	l.roll()
	go l.write()
	return l, nil
}

// roll makes the next record begin a segment. The caller holds mu, or has l alone.
func (l *Log) roll() {
	if l.at.segment() == 1<<32-1 {
		panic("BUG: four thousand million segments")
	}
	l.at = posOf(l.at.segment()+1, headerLen)
	// A reader of crypto/rand never fails.
	_, _ = rand.Read(l.salt[:])
}

// Roll ends the segment, so that it can go as soon as what is in it is not needed.
func (l *Log) Roll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.offset() > headerLen {
		l.roll()
	}
}

// Append takes a copy of r and gives it its position. It does not wait for the disk.
func (l *Log) Append(r *Record) *Ticket {
	dst, _ := l.pool.Get().(*[]byte)
	if dst == nil {
		dst = new([]byte)
	}
	b, f, err := encode(*dst, r)
	if err != nil {
		return refused(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failed != nil:
		return refused(l.failed)
	case l.closing:
		return refused(ErrClosed)
	case l.pending+int64(len(b)) > MaxPending:
		return refused(fmt.Errorf("%w: %d MiB wait for the disk", ErrFull, l.pending>>20))
	}
	return l.append(b, f)
}

// append puts the record into the last group. The caller holds mu.
func (l *Log) append(b []byte, f frame) *Ticket {
	if off := l.at.offset(); off > headerLen && off >= l.o.SegmentBytes {
		l.roll()
	}
	number, offset := l.at.segment(), l.at.offset()
	if n := len(l.segments); n == 0 || l.segments[n-1].number != number {
		s := &segment{header: header{number: number, salt: l.salt, epoch: l.o.Epoch, base: l.total}, readable: true, known: true, end: headerLen, events: l.total}
		if n > 0 {
			s.prev = posOf(l.segments[n-1].number, l.segments[n-1].end)
		}
		l.segments = append(l.segments, s)
	}
	s := l.segments[len(l.segments)-1]
	f.total = l.total + f.events
	if l.o.Sync {
		// The header is durable before the first record is written.
		f.synced = headerLen
		if l.durable.segment() == number {
			f.synced = l.durable.offset()
		}
	}
	f.put(b, l.salt, number, offset)
	if n := len(l.groups); n == 0 || l.groups[n-1].segment != s {
		l.groups = append(l.groups, &group{segment: s, start: offset, done: make(chan struct{})})
	}
	g := l.groups[len(l.groups)-1]
	g.records = append(g.records, b)
	g.bytes += int64(len(b))
	g.end, g.total = offset+int64(len(b)), f.total
	l.at, l.total = posOf(number, g.end), f.total
	l.pending += int64(len(b))
	s.end, s.events, s.last = g.end, f.total, max(s.last, f.last)
	l.stats.Appended++
	l.stats.AppendedBytes += uint64(len(b))
	l.work.Signal()
	return &Ticket{group: g, pos: posOf(number, offset)}
}

// End returns the position behind the last record that was appended.
func (l *Log) End() Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// Close writes what was appended, and says in the segment that it ends here.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closing = true
	l.work.Signal()
	l.mu.Unlock()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// now is the second that a new segment is made in.
func (l *Log) now() metric.UnixSec { return metric.SecOf(l.o.Clock.Now()) }
