package tsdb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/metric"
)

// Archive is a store that is only read: of a server that is stopped, or a copy. Its
// files are not changed, not even their times.
type Archive struct {
	db     *pebble.DB
	cache  *pebble.Cache
	lock   io.Closer
	fs     vfs.FS
	dir    string // of the store
	format uint64
	// policy is what the server kept the data by at last; the default's if the store is
	// older than that.
	policy metric.Policy
	past   []pastPolicy

	damage *damage
}

// OpenArchive opens the store in a data dir. A data dir without a store is an error,
// and one that another process uses is ErrInUse.
func OpenArchive(dir string, o Options) (_ *Archive, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Cache == 0 {
		o.Cache = 16 << 20
	}
	if err := hasStore(dir, &o); err != nil {
		return nil, err
	}
	o.damage, o.health, o.columns = &damage{log: o.Log}, newHealth(o), new(columnGate)
	a := &Archive{damage: o.damage, fs: o.FS, dir: o.FS.PathJoin(dir, "store")}
	if a.lock, err = share(o.FS, o.FS.PathJoin(dir, "LOCK")); err != nil {
		return nil, fmt.Errorf("data dir %q is %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("data dir %q: %w", dir, errors.Join(err, a.Close()))
		}
	}()
	a.cache = pebble.NewCache(o.Cache)
	o.FS = untouched{o.FS}
	p := options(o, a.cache)
	p.ReadOnly = true
	// Whoever reads gets the error; the default ends the process.
	p.EventListener.DataCorruption = func(pebble.DataCorruptionInfo) {}
	p.EnsureDefaults()
	if a.db, err = pebble.Open(a.dir, p); err != nil {
		return nil, fmt.Errorf("open the store: %w", reason(err))
	}
	if a.format, err = readFormat(a.db); err != nil {
		return a, err
	}
	r, err := get(a.db, keyPolicy, decodeRetention)
	if err == nil {
		a.past, err = get(a.db, keyPast, decodePast)
	}
	if a.policy = r.policy; a.policy.Default == (metric.Retention{}) {
		a.policy.Default = metric.DefaultRetention
	}
	return a, err
}

// hasStore sets the file system if there is none, and returns an error for a data dir
// without a store.
func hasStore(dir string, o *Options) error {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if _, err := o.FS.Stat(o.FS.PathJoin(dir, "store")); err != nil {
		return fmt.Errorf("data dir %q has no store: %w", dir, reason(err))
	}
	return nil
}

// Snapshot returns the store as it is; it must be closed.
func (a *Archive) Snapshot() *Snapshot { return newSnapshot(a.db, &a.policy, a.past, 0, a.damage) }

// Close closes the store. All snapshots must have been closed before.
func (a *Archive) Close() error {
	var errs []error
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	if a.cache != nil {
		a.cache.Unref()
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	return errors.Join(errs...)
}

// untouched is a file system of which nothing is changed. Its locks lock nothing:
// that of the data dir is held.
type untouched struct{ vfs.FS }

var errUntouched = fmt.Errorf("%w: the data dir is only read", fs.ErrPermission)

func (untouched) Create(string, vfs.DiskWriteCategory) (vfs.File, error) { return nil, errUntouched }
func (untouched) Link(string, string) error                              { return errUntouched }
func (untouched) Remove(string) error                                    { return errUntouched }
func (untouched) RemoveAll(string) error                                 { return errUntouched }
func (untouched) Rename(string, string) error                            { return errUntouched }
func (untouched) MkdirAll(string, fs.FileMode) error                     { return errUntouched }
func (untouched) Lock(string) (io.Closer, error)                         { return io.NopCloser(nil), nil }

func (untouched) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, errUntouched
}

func (untouched) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errUntouched
}

// Unwrap implements vfs.FS.
func (u untouched) Unwrap() vfs.FS { return u.FS }
