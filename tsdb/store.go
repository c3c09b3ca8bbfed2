package tsdb

import (
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

	"cairn/internal/clock"
	"cairn/internal/dirsync"
	"cairn/internal/metric"
)

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

	// Clock times stalls. nil: the machine's.
	Clock clock.Clock

	damage  *damage     // of the store
	health  *health     // of the store
	columns *columnGate // of the store
}

// Store is an open store. Its methods are safe for concurrent use, except that
// one batch at a time is committed.
type Store struct {
	db        *pebble.DB
	options   *pebble.Options
	dir       string // of tables that are not in the store yet
	bulkRows  int    // as the constant; a test sets it, and bulkBytes
	bulkBytes int
	nowSteps  int     // the same
	tableSize int     // maxTable; a test sets it
	scratch   scratch // used by the one batch at a time
	cache     *pebble.Cache
	lock      io.Closer
	fs        vfs.FS
	pid       string // path of the file that names the owner
	index     *index
	damage    *damage
	health    *health
	columns   *columnGate
	watching  io.Closer // of what watches the disk; nil: nothing does
	cursor    Cursor    // guarded by index.mu
	totals    Totals    // guarded by index.mu

	epochs  epochs
	written *marks // refs written while a Collect scans; nil: none does. Guarded by index.mu

	annotations uint64 // number of the next one; guarded by index.mu
	documents   documents

	// How long metrics are kept. A batch and an expiry pass, of which there is one at a
	// time, use these; what others read is said beside it.
	policy        metric.Policy      // does not change
	retentions    []metric.Retention // the default, and those of the overrides
	retained      []uint8            // by metric number - 1: which of the retentions
	ttl           metric.UnixSec     // the retention's clock; 0: it does not run yet; guarded by index.mu
	changed       metric.UnixSec     // when the policy last changed
	past          []pastPolicy       // policies that were in force before; does not change
	policyWritten bool               // the policies are in the store
	cleared       [][len(metric.Tiers)]uint32
}

// ErrInUse is returned by Open where another process has the data dir.
var ErrInUse = errors.New("in use")

// Open opens the store in dir, which it makes if it is not there.
func Open(dir string, o Options) (*Store, error) {
	s := newStore(dir, &o)
	if err := s.start(o); err != nil {
		return nil, err
	}
	return s, nil
}

// newStore returns one that is not open yet, and completes the options.
func newStore(dir string, o *Options) *Store {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Cache == 0 {
		o.Cache = 64 << 20
	}
	if o.BulkRows == 0 {
		o.BulkRows = bulkRows
	}
	o.health = newHealth(*o)
	var watching io.Closer
	if o.FS == vfs.Default { // those of tests are in memory
		o.FS, watching = o.health.watch(o.FS)
	}
	if o.Full != nil {
		o.FS = vfs.OnDiskFull(o.FS, o.Full)
	}
	if o.Retention.Default == (metric.Retention{}) {
		o.Retention.Default = metric.DefaultRetention
	}
	o.damage, o.columns = &damage{log: o.Log}, new(columnGate)
	return &Store{
		damage: o.damage, health: o.health, columns: o.columns, watching: watching, policy: o.Retention, fs: o.FS, dir: dir,
		bulkRows: o.BulkRows, bulkBytes: bulkBytes, nowSteps: nowSteps, tableSize: maxTable, index: newIndex(), pid: o.FS.PathJoin(dir, "cairn.pid"),
	}
}

func (s *Store) start(o Options) error {
	if err := dirsync.Make(s.fs, s.dir); err != nil {
		s.release()
		return fmt.Errorf("data dir %q: %w", s.dir, reason(err))
	}
	if err := s.acquire(s.dir); err != nil {
		s.release()
		return err
	}
	err := s.removeTables()
	if err == nil {
		err = s.open(s.fs.PathJoin(s.dir, "store"), o)
	}
	if err != nil {
		s.release()
		return fmt.Errorf("data dir %q: %w", s.dir, err)
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
	// Last: the next operation would start its goroutine again.
	if s.watching != nil {
		_ = s.watching.Close() // it only ends a goroutine
		s.watching = nil
	}
}

func (s *Store) open(dir string, o Options) error {
	s.cache = pebble.NewCache(o.Cache)
	if err := s.checkFormat(o, dir); err != nil {
		s.cache.Unref()
		return err
	}
	if o.Fatal != nil {
		o.FS = &logFS{FS: o.FS, dir: dir, fatal: pebbleLogger{fatal: o.Fatal}.end}
	}
	s.options = options(o, s.cache)
	s.options.EnsureDefaults()
	db, err := pebble.Open(dir, s.options)
	if err != nil {
		s.cache.Unref()
		return fmt.Errorf("open the store: %w", reason(err))
	}
	s.db = db
	if err := s.readState(o.Log); err != nil {
		err = errors.Join(err, db.Close())
		s.cache.Unref()
		return err
	}
	return nil
}

func (s *Store) readState(log *slog.Logger) error {
	version, err := readFormat(s.db)
	if err != nil {
		return err
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
	if err := s.readDocuments(log); err != nil {
		return err
	}
	if err := s.index.load(s.db); err != nil {
		return err
	}
	if err := s.readRetention(log); err != nil {
		return err
	}
	return s.upgrade(version, log)
}

// DiskBytes returns the size of the store on disk.
func (s *Store) DiskBytes() uint64 { return s.db.Metrics().DiskSpaceUsage() }

// Close closes the store. All snapshots must have been closed before.
func (s *Store) Close() error {
	s.documents.close()
	err := s.db.Close()
	s.cache.Unref()
	s.release()
	if err != nil {
		return fmt.Errorf("close the store: %w", err)
	}
	return nil
}
