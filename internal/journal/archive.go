package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/metric"
)

// Archive is a log that nobody has open. Nothing of it is changed.
type Archive struct {
	fs    vfs.FS
	dir   string
	chain *chain
}

// OpenArchive looks at the log in dir. One that is not there is empty.
func OpenArchive(fsys vfs.FS, dir string) (*Archive, error) {
	if fsys == nil {
		fsys = vfs.Default
	}
	a := &Archive{fs: fsys, dir: dir, chain: &chain{}}
	if _, err := fsys.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	var err error
	if a.chain, err = load(fsys, dir); err != nil {
		return nil, fmt.Errorf("journal %q: %w", dir, err)
	}
	return a, nil
}

// Since is Log.Since.
func (a *Archive) Since(events uint64) (Pos, metric.UnixSec) {
	return since(a.chain.segments, a.chain.total, events)
}

// Read is Log.Read.
func (a *Archive) Read(from, to Pos, visit func(Pos, *Record) error) error {
	if n := len(a.chain.segments); n > 0 && from != 0 && from < a.chain.segments[0].start() {
		return fmt.Errorf("%w: %v was asked for, and it begins at %v", ErrReleased, from, a.chain.segments[0].start())
	}
	r := reader{fs: a.fs, dir: a.dir, from: from, to: to, visit: visit, damage: func(*segment, Damage) {}}
	if err := r.read(a.chain.segments); err != nil {
		return err
	}
	if len(r.r.Damage) > 0 {
		return &DamagedError{r.r.Damage}
	}
	return nil
}

// Since returns where the oldest segment begins from which on there are no more than so
// many events, and when it was made; or the newest one, if that has more. First is Since
// of any number of them.
func (l *Log) Since(events uint64) (Pos, metric.UnixSec) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.segments)
	for n > 0 && !l.segments[n-1].made {
		n--
	}
	return since(l.segments[:n], l.stored, events)
}

func since(segments []*segment, total, events uint64) (Pos, metric.UnixSec) {
	for i, s := range segments {
		if i == len(segments)-1 || s.readable && total <= s.base+events || events == math.MaxUint64 {
			return s.start(), s.created
		}
	}
	return 0, 0
}
