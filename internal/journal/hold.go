package journal

import (
	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/mutant"
)

// Part is a segment as a copy of the log takes it.
type Part struct {
	Path   string
	Name   string // of the file
	Bytes  int64  // where its records end, as far as they are durable; what lies behind is not needed
	Closed bool   // nothing is written to it any more, so that a copy may be a link
}

// Parts is all that is kept of a log.
type Parts struct {
	List   []Part // oldest first
	End    Pos    // behind the last record
	Events uint64 // of all records before End, those included that were released
}

func partsOf(fs vfs.FS, dir string, segments []*segment) (p Parts) {
	for i, s := range segments {
		name := segmentName(s.number)
		p.List = append(p.List, Part{Path: fs.PathJoin(dir, name), Name: name, Bytes: s.end, Closed: i < len(segments)-1 || mutant.On("open-segment-linked")})
		p.End = posOf(s.number, s.end)
	}
	return p
}

// Hold returns what is kept now, as far as it is durable, and keeps it until release is
// called.
func (l *Log) Hold() (p Parts, release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	segments := l.kept()
	p = partsOf(l.o.FS, l.dir, segments)
	p.Events = l.stored
	pin := new(Pos)
	if len(segments) > 0 {
		*pin = segments[0].start()
	}
	l.pins[pin] = struct{}{}
	return p, func() { l.unpin(pin) }
}

// Parts returns what there is of a log that nobody has open. What a crash has left at its
// end does not belong to it.
func (a *Archive) Parts() Parts {
	p := partsOf(a.fs, a.dir, a.chain.segments)
	p.Events = a.chain.total
	return p
}
