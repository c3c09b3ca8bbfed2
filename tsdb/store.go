package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/metric"
)

// storeFormat is the version of everything in the store. A store with a higher
// one is refused.
const storeFormat = 1

// Options says where and how a store is opened.
type Options struct {
	FS    vfs.FS                // nil: the disk
	Log   *slog.Logger          // nil: nothing is logged
	Cache int64                 // bytes of decoded blocks kept in memory; 0: 64 MiB
	Fatal func(sentence string) // called where Pebble cannot go on; must not return
}

// Store is an open store. Its methods are safe for concurrent use, except that
// one batch at a time is committed.
type Store struct {
	db       *pebble.DB
	options  *pebble.Options
	dir      string  // of tables that are not in the store yet
	bulkRows int     // as the constant; a test sets it
	scratch  scratch // used by the one batch at a time
	cache    *pebble.Cache
	lock     io.Closer
	fs       vfs.FS
	pid      string // path of the file that names the owner
	index    *index
	cursor   metric.UnixSec // guarded by index.mu
	totals   Totals         // guarded by index.mu

	annotations uint64 // number of the next one; guarded by index.mu
}

// Totals counts what was ever stored.
type Totals struct{ Events uint64 }

// ErrInUse is returned by Open where another process has the data dir.
var ErrInUse = errors.New("in use")

// Open opens the store in dir, which it makes if it is not there.
func Open(dir string, o Options) (*Store, error) {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Cache == 0 {
		o.Cache = 64 << 20
	}
	if err := makeDir(o.FS, dir); err != nil {
		return nil, fmt.Errorf("data dir %q: %w", dir, reason(err))
	}
	s := &Store{fs: o.FS, dir: dir, bulkRows: bulkRows, index: newIndex(), pid: o.FS.PathJoin(dir, "cairn.pid")}
	if err := s.acquire(dir); err != nil {
		return nil, err
	}
	err := s.removeTables()
	if err == nil {
		err = s.open(o.FS.PathJoin(dir, "store"), o)
	}
	if err != nil {
		s.release()
		return nil, fmt.Errorf("data dir %q: %w", dir, err)
	}
	return s, nil
}

// makeDir makes dir and what is missing above it, and syncs the directories that
// got a new entry: else a crash could lose the whole store after its first commit.
func makeDir(fsys vfs.FS, dir string) error {
	var changed []string
	for d := dir; ; {
		if _, err := fsys.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break // it is there, or MkdirAll will say what is wrong with it
		}
		parent := fsys.PathDir(d)
		changed = append(changed, parent)
		if parent == d {
			break
		}
		d = parent
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range changed {
		f, err := fsys.OpenDir(d)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// reason strips the system call and the path from an error of the file system:
// the sentence around it names the path already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// acquire takes the data dir for this process before anything in it is touched.
func (s *Store) acquire(dir string) error {
	lock, err := s.fs.Lock(s.fs.PathJoin(dir, "LOCK"))
	if err != nil {
		if owner := s.owner(); owner != 0 && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("data dir %q is %w by another cairn process, PID %d; stop that one, or choose another with --data-dir", dir, ErrInUse, owner)
		}
		return fmt.Errorf("data dir %q cannot be locked: %w", dir, reason(err))
	}
	s.lock = lock
	if err := s.writePID(); err != nil {
		s.release()
		return fmt.Errorf("data dir %q is not writable: %w", dir, reason(err))
	}
	return nil
}

func (s *Store) writePID() error {
	f, err := s.fs.Create(s.pid, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	return errors.Join(err, f.Close())
}

func (s *Store) owner() int {
	f, err := s.fs.Open(s.pid)
	if err != nil {
		return 0
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

func (s *Store) release() {
	if s.lock != nil {
		_ = s.fs.Remove(s.pid) // a stale one names no owner: the lock decides
		_ = s.lock.Close()     // the process ends, or the directory is unused: nothing to do about it
		s.lock = nil
	}
}

func (s *Store) open(dir string, o Options) error {
	s.cache = pebble.NewCache(o.Cache)
	s.options = options(o, s.cache)
	s.options.EnsureDefaults()
	db, err := pebble.Open(dir, s.options)
	if err != nil {
		s.cache.Unref()
		return fmt.Errorf("open the store: %w", reason(err))
	}
	s.db = db
	if err := s.readState(); err != nil {
		err = errors.Join(err, db.Close())
		s.cache.Unref()
		return err
	}
	return nil
}

func (s *Store) readState() error {
	version, ok, err := s.readUvarint(keyFormat)
	switch {
	case err != nil:
		return err
	case !ok:
		if err := s.db.Set(keyFormat, binary.AppendUvarint(nil, storeFormat), pebble.Sync); err != nil {
			return fmt.Errorf("write the format version: %w", err)
		}
	case version > storeFormat:
		return fmt.Errorf("the store has format %d and this version of cairn reads up to %d; use the version that wrote it, or a newer one", version, storeFormat)
	}
	cursor, _, err := s.readUvarint(keyCursor)
	if err != nil {
		return err
	}
	s.cursor = metric.UnixSec(cursor)
	if s.totals.Events, _, err = s.readUvarint(keyTotals); err != nil {
		return err
	}
	if err := s.readAnnotations(); err != nil {
		return err
	}
	return s.index.load(s.db)
}

func (s *Store) readUvarint(key []byte) (v uint64, ok bool, err error) {
	b, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read %q: %w", key[1:], err)
	}
	defer closer.Close()
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, false, fmt.Errorf("read %q: %x is not a number", key[1:], b)
	}
	return v, true, nil
}

// Cursor returns the watermark of the last committed batch; 0 in a new store.
func (s *Store) Cursor() metric.UnixSec {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.cursor
}

// Totals returns what was stored, up to the last committed batch.
func (s *Store) Totals() Totals {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.totals
}

// DiskBytes returns the size of the store on disk.
func (s *Store) DiskBytes() uint64 { return s.db.Metrics().DiskSpaceUsage() }

// Close closes the store. All snapshots must have been closed before.
func (s *Store) Close() error {
	err := s.db.Close()
	s.cache.Unref()
	s.release()
	if err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}
