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

	"cairn/internal/dirsync"
	"cairn/internal/metric"
)

// storeFormat is the version of everything in the store. A store with a higher one
// is refused; one with a lower one gets it with the first batch. 2 came with the
// journal: who knows only the watermark would count again what is in the store.
const storeFormat = 2

// Options says where and how a store is opened.
type Options struct {
	FS    vfs.FS                // nil: the disk
	Log   *slog.Logger          // nil: nothing is logged
	Cache int64                 // bytes of decoded blocks kept in memory; 0: 64 MiB
	Fatal func(sentence string) // called where Pebble cannot go on; must not return
	// Full is called when a write finds the disk full; once it returns the write is
	// tried again, and what fails then is fatal. nil: the first is.
	Full func()
	// BulkRows is how many series a batch must have to be committed as tables; tests
	// of crashes set it. 0: as many as that pays for.
	BulkRows int
	// Retention says how long what is stored is kept. The zero Policy: as
	// metric.DefaultRetention. Nothing is deleted but by Expire.
	Retention metric.Policy
}

// Store is an open store. Its methods are safe for concurrent use, except that
// one batch at a time is committed.
type Store struct {
	db        *pebble.DB
	options   *pebble.Options
	dir       string  // of tables that are not in the store yet
	bulkRows  int     // as the constant; a test sets it
	tableSize int     // maxTable; a test sets it
	scratch   scratch // used by the one batch at a time
	cache     *pebble.Cache
	lock      io.Closer
	fs        vfs.FS
	pid       string // path of the file that names the owner
	index     *index
	format    uint64 // of the store, as it is on disk; used by the one batch at a time
	cursor    Cursor // guarded by index.mu
	totals    Totals // guarded by index.mu

	annotations uint64 // number of the next one; guarded by index.mu

	// How long metrics are kept. A batch and an expiry pass, of which there is one at a
	// time, use these; what others read is said beside it.
	policy     metric.Policy      // does not change
	retentions []metric.Retention // the default, and those of the overrides
	retained   []uint8            // by metric number - 1: which of the retentions
	ttl        metric.UnixSec     // the retention's clock; 0: it does not run yet; guarded by index.mu
	changed    metric.UnixSec     // when the policy last changed
	written    bool               // the policy is in the store
	cleared    [][len(metric.Tiers)]uint32
}

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
	if err := dirsync.Make(o.FS, dir); err != nil {
		return nil, fmt.Errorf("data dir %q: %w", dir, reason(err))
	}
	if o.BulkRows == 0 {
		o.BulkRows = bulkRows
	}
	if o.Full != nil {
		o.FS = vfs.OnDiskFull(o.FS, o.Full)
	}
	if o.Retention.Default == (metric.Retention{}) {
		o.Retention.Default = metric.DefaultRetention
	}
	s := &Store{policy: o.Retention, fs: o.FS, dir: dir, bulkRows: o.BulkRows, tableSize: maxTable, index: newIndex(), pid: o.FS.PathJoin(dir, "cairn.pid")}
	if err := s.acquire(dir); err != nil {
		return nil, err
	}
	err := s.removeTables()
	if err == nil {
		if o.Fatal != nil {
			o.FS = &logFS{FS: o.FS, fatal: pebbleLogger{fatal: o.Fatal}.end}
		}
		err = s.open(o.FS.PathJoin(dir, "store"), o)
	}
	if err != nil {
		s.release()
		return nil, fmt.Errorf("data dir %q: %w", dir, err)
	}
	return s, nil
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
	err = s.readState()
	if err == nil {
		err = s.readRetention(o.Log)
	}
	if err != nil {
		err = errors.Join(err, db.Close())
		s.cache.Unref()
		return err
	}
	return nil
}

func (s *Store) readState() error {
	version, ok, err := s.readUvarint(keyFormat)
	s.format = version
	switch {
	case err != nil:
		return err
	case !ok:
		s.format = storeFormat
		if err := s.db.Set(keyFormat, binary.AppendUvarint(nil, storeFormat), pebble.Sync); err != nil {
			return fmt.Errorf("write the format version: %w", err)
		}
	case version > storeFormat:
		return fmt.Errorf("the store has format %d and this version of cairn reads up to %d; use the version that wrote it, or a newer one", version, storeFormat)
	}
	if s.cursor, err = get(s.db, keyCursor, decodeCursor); err != nil {
		return err
	}
	if s.totals, err = get(s.db, keyTotals, decodeTotals); err != nil {
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
