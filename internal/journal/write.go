package journal

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/mutant"
)

const (
	// chunk is how much is collected for one write; a longer record is written as it is.
	chunk = 1 << 20
	// maxPooled is the longest buffer that is kept for the next record.
	maxPooled = 256 << 10
)

// write is the goroutine that writes: everything that was appended while it was at
// the disk goes with the next sync.
func (l *Log) write() {
	defer close(l.done)
	for {
		l.mu.Lock()
		for len(l.groups) == 0 && !l.closing {
			l.work.Wait()
		}
		l.mu.Unlock()
		// Those who are about to append come first: where there is one processor, it is
		// the writer's until the sync is over, and every record would get one of its own.
		runtime.Gosched()
		l.mu.Lock()
		groups := l.groups
		l.groups = nil
		l.mu.Unlock()
		if len(groups) == 0 {
			l.finish()
			return
		}
		for i, g := range groups {
			err := l.commit(g)
			if err != nil {
				l.abandon(groups[i:], err)
				break
			}
			l.settle(g)
		}
	}
}

// syncError is a failed fsync: nobody knows what is on the disk now.
type syncError struct{ err error }

func (e syncError) Error() string { return e.err.Error() }
func (e syncError) Unwrap() error { return e.err }

// commit makes a group durable.
func (l *Log) commit(g *group) error {
	if l.number != g.segment.number {
		if err := l.begin(g.segment); err != nil {
			return err
		}
	}
	buf := l.buf[:0]
	for _, r := range g.records {
		if len(buf)+len(r) > chunk && len(buf) > 0 {
			if _, err := l.file.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		if len(r) >= chunk {
			if _, err := l.file.Write(r); err != nil {
				return err
			}
			continue
		}
		buf = append(buf, r...)
	}
	l.buf = buf
	if len(buf) > 0 {
		if _, err := l.file.Write(buf); err != nil {
			return err
		}
	}
	if mutant.On("ack-before-sync") {
		return nil
	}
	return l.sync(l.file.SyncData)
}

// sync syncs and takes the time of it.
func (l *Log) sync(do func() error) error {
	if !l.o.Sync {
		return nil
	}
	begin := l.o.Clock.Now()
	if err := do(); err != nil {
		return syncError{err}
	}
	took := l.o.Clock.Now().Sub(begin)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.sync(took)
	return nil
}

// begin makes the file of a segment. All before it is durable. Room is not reserved:
// it made no difference to BenchmarkCommit, and would fill a disk that is nearly full.
func (l *Log) begin(s *segment) error {
	l.leave()
	l.mu.Lock()
	l.made = max(l.made, l.now())
	s.created = l.made
	head := s.header.append(nil)
	l.mu.Unlock()
	path := l.o.FS.PathJoin(l.dir, segmentName(s.number))
	f, err := l.o.FS.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(head)
	if err == nil {
		err = l.sync(f.Sync)
	}
	if err == nil {
		err = l.syncDir()
	}
	if err != nil {
		// What stays of it holds no record, and no header will name it.
		return errors.Join(err, f.Close(), l.o.FS.Remove(path))
	}
	l.file, l.number = f, s.number
	l.mu.Lock()
	defer l.mu.Unlock()
	s.made = true
	l.durable = s.start()
	return nil
}

func (l *Log) syncDir() error {
	if !l.o.Sync || mutant.On("segment-directory-not-synced") {
		return nil
	}
	d, err := l.o.FS.OpenDir(l.dir)
	if err != nil {
		return err
	}
	return errors.Join(l.sync(d.Sync), d.Close())
}

// leave closes the file of the segment that was written to.
func (l *Log) leave() {
	if l.file == nil {
		return
	}
	if err := l.file.Close(); err != nil {
		l.o.Log.Warn("a segment of the journal was not closed", "segment", l.number, "err", err)
	}
	l.file, l.number = nil, 0
}

// settle wakes those who wait for a group that is durable.
func (l *Log) settle(g *group) {
	l.mu.Lock()
	l.durable, l.stored = posOf(g.segment.number, g.end), g.total
	l.pending -= g.bytes
	l.mu.Unlock()
	close(g.done)
	for _, r := range g.records {
		if cap(r) <= maxPooled {
			l.pool.Put(&r)
		}
	}
	g.records = nil
}

// abandon refuses groups and all that was appended behind them. The segment ends where
// it was durable, and the next record begins another.
func (l *Log) abandon(groups []*group, err error) {
	if s := (syncError{}); !errors.As(err, &s) {
		err = errors.Join(err, l.erase(groups[0]))
	}
	l.leave()
	l.mu.Lock()
	groups = append(groups, l.groups...)
	l.groups = nil
	for n := len(l.segments); n > 0 && !l.segments[n-1].made; n-- {
		l.segments = l.segments[:n-1]
	}
	if n := len(l.segments); n > 0 && l.segments[n-1].number == l.durable.segment() {
		l.segments[n-1].end, l.segments[n-1].events = l.durable.offset(), l.stored
	}
	l.roll()
	l.total = l.stored
	for _, g := range groups {
		l.pending -= g.bytes
		l.stats.Refused += uint64(len(g.records))
	}
	s := syncError{}
	sticky := errors.As(err, &s)
	switch {
	case sticky:
		err = fmt.Errorf("%w: an fsync was not successful (%w); what was not acknowledged may be lost, and only a restart finds out", ErrFailed, err)
		l.failed = err
	case noSpace(err):
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	default:
		err = fmt.Errorf("write the journal: %w", err)
	}
	l.mu.Unlock()
	for _, g := range groups {
		g.err, g.records = err, nil
		close(g.done)
	}
	if sticky && l.o.Failed != nil {
		l.o.Failed(err)
	}
}

// erase overwrites the frame of the first record that was refused, so that a crash
// before the next segment is made does not bring it back. It needs no new space. If
// it is not possible, the next segment's header does the same.
func (l *Log) erase(g *group) error {
	if l.file == nil || l.number != g.segment.number {
		return nil // not a byte of it was written
	}
	info, err := l.file.Stat()
	if err != nil || info.Size() <= g.start {
		return nil
	}
	f, err := l.o.FS.OpenReadWrite(l.o.FS.PathJoin(l.dir, segmentName(l.number)), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil
	}
	if _, err = f.WriteAt(make([]byte, min(frameLen, info.Size()-g.start)), g.start); err == nil {
		err = l.sync(f.SyncData)
	} else {
		err = nil
	}
	_ = f.Close() // what mattered was synced
	return err
}

// finish ends the segment with a record that knows all before it to be durable: what
// is bad in it later is damage, and no torn tail.
func (l *Log) finish() {
	l.mu.Lock()
	seal := l.o.Sync && l.file != nil && l.failed == nil && l.durable.segment() == l.number
	f := frame{kind: kindSeal, synced: l.durable.offset(), total: l.stored}
	at := l.durable
	b := make([]byte, frameLen)
	for _, s := range l.segments {
		if s.number == l.number {
			f.put(b, s.salt, s.number, at.offset())
		}
	}
	l.mu.Unlock()
	if seal {
		if _, err := l.file.Write(b); err == nil {
			if err = l.sync(l.file.SyncData); err != nil {
				l.mu.Lock()
				l.failed = fmt.Errorf("%w: the last fsync was not successful: %w", ErrFailed, err)
				l.mu.Unlock()
			}
		}
	}
	l.leave()
}
