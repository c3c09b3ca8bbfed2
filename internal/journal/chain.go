package journal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/metric"
	"cairn/internal/mutant"
)

// segment is what is known of one.
type segment struct {
	header
	readable bool
	made     bool  // it is on the disk
	end      int64 // behind its last record
	events   uint64
	last     metric.UnixSec // of its records, if it is known
	known    bool           // last is
	damaged  bool
	latest   metric.UnixSec // of its records, if it was measured
}

func (s *segment) start() Pos { return posOf(s.number, headerLen) }

// chain is the segments of a directory, oldest first.
type chain struct {
	segments []*segment
	void     []uint32 // segments that hold nothing that was ever acknowledged
	newest   uint32   // number of any file that is there, void or not
	total    uint64   // events at the end
	tail     tail
}

// tail is what a crash left behind the last record.
type tail struct{ segments, bytes int64 }

// load lists the segments in dir, and finds where each ends. That is said by the
// header of the one after it, as what lies behind may be records that were refused;
// the last one is read through.
func load(fsys vfs.FS, dir string) (*chain, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list the journal: %w", err)
	}
	var numbers []uint32
	for _, name := range names {
		if n, ok := parseName(name); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	c := &chain{}
	if len(numbers) > 0 {
		c.newest = numbers[len(numbers)-1]
	}
	summed := false
	var after *segment
	for _, n := range slices.Backward(numbers) {
		if after != nil && after.readable && n > after.prev.segment() {
			c.void = append(c.void, n)
			continue
		}
		s, err := c.add(fsys, dir, n, after, &summed)
		if err != nil {
			return nil, err
		}
		if s != nil {
			after = s
		}
	}
	slices.Reverse(c.segments)
	return c, nil
}

// add adds the segment n, which comes before after; nil: there is nothing in it.
func (c *chain) add(fsys vfs.FS, dir string, n uint32, after *segment, summed *bool) (_ *segment, err error) {
	f, err := scan(fsys, dir, n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if after == nil && !f.readable && f.size <= headerLen {
		// Records are written when the header is durable. This one never was.
		c.void = append(c.void, n)
		c.tail.segments++
		c.tail.bytes += f.size
		return nil, nil
	}
	s := &segment{header: f.header, readable: f.readable, made: true, events: f.base}
	if after != nil && after.readable && after.prev.segment() == n && !mutant.On("end-not-believed") {
		s.end = after.prev.offset()
	}
	if unsummed := !*summed; s.end == 0 || unsummed {
		if err := s.measure(f, summed); err != nil {
			return nil, err
		}
		if after == nil && f.size > s.end {
			c.tail.segments++
			c.tail.bytes += f.size - s.end
		}
		if unsummed && *summed {
			c.total = s.events
		}
	}
	c.segments = append(c.segments, s)
	return s, nil
}

// measure reads the segment through. Without a known end it ends at the first bad
// byte that no record behind it knows to have been durable.
func (s *segment) measure(f *scanner, summed *bool) error {
	var bad []int64
	var at []int64
	var totals []uint64
	limit := s.end
	if limit == 0 {
		limit = f.size
	}
	err := f.walk(limit, func(off int64, f frame, _, _ []byte) (bool, error) {
		s.latest = max(s.latest, f.last)
		at, totals = append(at, off), append(totals, f.total)
		return true, nil
	}, func(off, _ int64) error {
		bad = append(bad, off)
		return nil
	})
	if err != nil {
		return err
	}
	if s.end == 0 {
		s.end = max(limit, headerLen)
		for _, off := range bad {
			if off >= f.synced {
				s.end = off
				break
			}
		}
	}
	if s.readable {
		*summed = true
	}
	for i, off := range at {
		if off < s.end {
			s.events, *summed = totals[i], true
		}
	}
	return nil
}
