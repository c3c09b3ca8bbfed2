package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/dirsync"
	"cairn/internal/metric"
	"cairn/internal/mutant"
)

// quarantineDir is where damage is kept.
const quarantineDir = "quarantine"

// Oldest returns where the first segment begins that holds a record from cut on, or
// one with an event at w or later: what lies before is not needed to recover.
func (l *Log) Oldest(cut Pos, w metric.UnixSec) Pos {
	l.mu.Lock()
	defer l.mu.Unlock()
	if mutant.On("segment-released-early") {
		return l.at
	}
	for _, s := range l.segments {
		if s.end > headerLen && posOf(s.number, s.end) > cut || !s.known || s.last != 0 && s.last >= w {
			return s.start()
		}
	}
	return l.at
}

// Release gives up segments that lie wholly below p: they are kept for Retention and
// within RetainBytes. The newest one always stays, as positions and totals go on from
// it.
func (l *Log) Release(p Pos) error {
	l.releasing.Lock()
	defer l.releasing.Unlock()
	l.needed = p
	return l.release(false)
}

// Spare gives up the segments that are only kept for reconciliation, because the disk
// has no room for them.
func (l *Log) Spare() error {
	l.releasing.Lock()
	defer l.releasing.Unlock()
	return l.release(true)
}

// release is Release; all says that nothing is kept which is not needed. The caller
// holds releasing.
func (l *Log) release(all bool) error {
	removed := false
	for {
		s := l.victim(l.needed, all)
		if s == nil {
			break
		}
		if err := l.remove(s); err != nil {
			l.mu.Lock()
			l.segments = slices.Insert(l.segments, 0, s)
			l.mu.Unlock()
			return fmt.Errorf("release a segment of the journal: %w", err)
		}
		removed = true
	}
	for _, n := range l.void {
		if err := l.o.FS.Remove(l.o.FS.PathJoin(l.dir, segmentName(n))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a segment of the journal that a crash left: %w", err)
		}
		removed = true
	}
	l.void = nil
	if !removed || !l.o.Sync {
		return nil
	}
	if err := dirsync.Sync(l.o.FS, l.dir); err != nil {
		return fmt.Errorf("sync the journal's directory: %w", err)
	}
	return nil
}

// victim returns the oldest segment if it can go now, and takes it out of what Read
// sees.
func (l *Log) victim(p Pos, all bool) *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) < 2 || !l.segments[1].made {
		return nil
	}
	s, next := l.segments[0], l.segments[1]
	if posOf(s.number, s.end) > p {
		return nil
	}
	for pin := range l.pins {
		if pin.segment() <= s.number {
			return nil
		}
	}
	var kept int64
	for i, s := range l.segments {
		if i+1 < len(l.segments) && l.segments[i+1].made && posOf(s.number, s.end) <= p {
			kept += s.end
		}
	}
	age := time.Duration(l.now()-next.created) * time.Second
	if !all && age < l.o.Retention && kept <= l.o.RetainBytes {
		return nil
	}
	l.segments = l.segments[1:]
	return s
}

// remove removes a segment, or moves it away if it is damaged.
func (l *Log) remove(s *segment) error {
	path := l.o.FS.PathJoin(l.dir, segmentName(s.number))
	if !s.damaged {
		return l.o.FS.Remove(path)
	}
	dir := l.o.FS.PathJoin(l.dir, quarantineDir)
	if err := dirsync.Make(l.o.FS, dir); err != nil {
		return err
	}
	if err := l.o.FS.Rename(path, l.o.FS.PathJoin(dir, segmentName(s.number))); err != nil {
		return err
	}
	return dirsync.Sync(l.o.FS, dir)
}

// quarantine copies a damaged stretch. It is no error if that cannot be done: the
// segment itself is kept.
func (l *Log) quarantine(s *segment, d Damage) {
	if d.Bytes == 0 {
		return
	}
	if err := l.copyBad(s.number, d); err != nil {
		l.o.Log.Warn("a damaged stretch of the journal was not copied; the segment is kept", "segment", d.Path, "offset", d.Pos.offset(), "bytes", d.Bytes, "err", err)
	}
}

func (l *Log) copyBad(number uint32, d Damage) (err error) {
	dir := l.o.FS.PathJoin(l.dir, quarantineDir)
	if err := dirsync.Make(l.o.FS, dir); err != nil {
		return err
	}
	src, err := scan(l.o.FS, l.dir, number)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	dst, err := l.o.FS.Create(l.o.FS.PathJoin(dir, fmt.Sprintf("%010d-%010d.bad", number, d.Pos.offset())), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	for off, end := d.Pos.offset(), d.Pos.offset()+d.Bytes; off < end; {
		b, err := src.bytes(off, min(readAhead, end-off))
		if err == nil && len(b) > 0 {
			off += int64(len(b))
			// Write may change what it is given, and the window is not read again.
			_, err = dst.Write(b)
		}
		if err != nil {
			return errors.Join(err, dst.Close())
		}
		if len(b) == 0 {
			break // the file ends before
		}
	}
	return errors.Join(dst.Sync(), dst.Close(), dirsync.Sync(l.o.FS, dir))
}

// markDamaged finds out by the copies which segments were found to be damaged before.
func markDamaged(fsys vfs.FS, dir string, segments []*segment) error {
	names, err := fsys.List(fsys.PathJoin(dir, quarantineDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the journal's quarantine: %w", err)
	}
	for _, name := range names {
		digits, _, ok := strings.Cut(name, "-")
		n, err := strconv.ParseUint(digits, 10, 32)
		for _, s := range segments {
			if ok && err == nil && s.number == uint32(n) {
				s.damaged = true
			}
		}
	}
	return nil
}

// OldestEpoch is EpochFrom of all that is kept.
func (l *Log) OldestEpoch() uint64 { return l.EpochFrom(0) }

// First returns where the oldest segment that is kept begins, and when it was made; 0
// and 0 if there is none.
func (l *Log) First() (Pos, metric.UnixSec) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if s.made {
			return s.start(), s.created
		}
	}
	return 0, 0
}
