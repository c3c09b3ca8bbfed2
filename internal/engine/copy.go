package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/dirsync"
	"cairn/internal/journal"
	"cairn/internal/mutant"
	"cairn/internal/reconcile"
	"cairn/tsdb"
)

const (
	// pieceBytes is how much is copied at a time, and syncBytes after how many the kernel
	// is told to write, so that a sync at the end keeps the journal's from the disk for no
	// longer than that takes.
	pieceBytes = 64 << 10
	syncBytes  = 1 << 20
	// piecesALook is how many pieces are copied between two looks at what is free: 4 MiB,
	// which is little beside any floor.
	piecesALook = 64
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// target is a directory that is being filled.
type target struct {
	fs   vfs.FS
	path string // where it is filled
	dir  string // what it is called at last
	lock io.Closer
}

// openTarget makes DIR.partial, or says why no backup can be made in DIR. What an earlier
// attempt has left there is removed, but nothing else.
func openTarget(fsys vfs.FS, dir, data string, real bool) (*target, error) {
	parent := fsys.PathDir(dir)
	if strings.ContainsRune(dir, 0) || strings.HasSuffix(dir, partial) {
		return nil, fmt.Errorf("%w: %q may not end in %s or have a zero byte", ErrTarget, dir, partial)
	}
	own := fsys.PathJoin(data, backupsName)
	if inside(parent, data, real) && !inside(parent, own, real) {
		return nil, fmt.Errorf("%w: %q lies in the data dir, where backups may only be in %q", ErrTarget, dir, own)
	}
	if inside(parent, own, real) && inside(own, parent, real) {
		if err := dirsync.Make(fsys, own); err != nil {
			return nil, fmt.Errorf("%w: make %q: %w", ErrTarget, own, err)
		}
	}
	if info, err := fsys.Stat(parent); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%w: %q, in which it would be, is no directory", ErrTarget, parent)
	}
	if _, err := fsys.Stat(dir); err == nil {
		return nil, fmt.Errorf("%w: %q", ErrTaken, dir)
	} else if !isNotExist(err) {
		return nil, fmt.Errorf("%w: look at %q: %w", ErrTarget, dir, reason(err))
	}
	t := &target{fs: fsys, path: dir + partial, dir: dir}
	if err := t.clear(); err != nil {
		return nil, err
	}
	if err := t.begin(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, errors.Join(err, t.discard()))
	}
	return t, nil
}

// clear removes what a crash left of an earlier attempt.
func (t *target) clear() error {
	names, err := t.fs.List(t.path)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: look at %q: %w", ErrTarget, t.path, reason(err))
	}
	ours := len(names) == 0
	for _, name := range names {
		ours = ours || name == incompleteName || name == manifestName
	}
	if !ours {
		return fmt.Errorf("%w: %q is there, and is not what a backup has left; move it away", ErrTaken, t.path)
	}
	if len(names) > 0 {
		lock, err := t.fs.Lock(t.fs.PathJoin(t.path, incompleteName))
		if err != nil {
			return fmt.Errorf("%w: another process makes a backup in %q", ErrTaken, t.path)
		}
		if err := lock.Close(); err != nil {
			return fmt.Errorf("%w: %w", ErrTarget, err)
		}
	}
	if err := t.fs.RemoveAll(t.path); err != nil {
		return fmt.Errorf("%w: remove what is left of an earlier one: %w", ErrTarget, reason(err))
	}
	return nil
}

// begin makes the directory, marked as not finished.
func (t *target) begin() (err error) {
	if err := dirsync.Make(t.fs, t.path); err != nil {
		return fmt.Errorf("make %q: %w", t.path, reason(err))
	}
	if t.lock, err = t.fs.Lock(t.fs.PathJoin(t.path, incompleteName)); err != nil {
		return fmt.Errorf("make a file in %q: %w", t.path, reason(err))
	}
	return makeDurable(t.fs, t.path)
}

// unmark says that everything is there. All of it is durable.
func (t *target) unmark() error {
	err := t.lock.Close()
	t.lock = nil
	if err == nil {
		err = t.fs.Remove(t.fs.PathJoin(t.path, incompleteName))
	}
	if err != nil {
		return err
	}
	return makeDurable(t.fs, t.path)
}

// finish writes down what is in it, and gives it its name.
func (t *target) finish(c *copier, b *Backup) error {
	b.Files, b.Bytes = c.files, c.bytes
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if mutant.On("backup-named-early") {
		err := errors.Join(t.fs.Rename(t.path, t.dir), makeDurable(t.fs, t.fs.PathDir(t.dir)))
		t.path = t.dir
		return errors.Join(err, c.write(t.fs.PathJoin(t.path, manifestName), strings.NewReader(string(text))), t.unmark())
	}
	if err := c.write(t.fs.PathJoin(t.path, manifestName), strings.NewReader(string(text)+"\n")); err != nil {
		return err
	}
	// Also a crash between the two leaves a whole one: under a name that says it is not.
	if err := errors.Join(makeDurable(t.fs, t.path), t.unmark()); err != nil {
		return err
	}
	if _, err := t.fs.Stat(t.dir); !isNotExist(err) {
		return fmt.Errorf("%w: %q came up meanwhile", ErrTaken, t.dir)
	}
	if err := t.fs.Rename(t.path, t.dir); err != nil {
		return fmt.Errorf("rename it: %w", reason(err))
	}
	return makeDurable(t.fs, t.fs.PathDir(t.dir))
}

// discard removes what was made.
func (t *target) discard() (err error) {
	if t.lock != nil {
		err = t.lock.Close()
		t.lock = nil
	}
	return errors.Join(err, t.fs.RemoveAll(t.path))
}

// inside reports whether path is dir or lies in it.
func inside(path, dir string, real bool) bool {
	if real {
		path, dir = resolved(path), resolved(dir)
	}
	path, dir = filepath.Clean(path), filepath.Clean(dir)
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// resolved is the path without links, as far as it is there.
func resolved(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(resolved(parent), filepath.Base(path))
	}
	return path
}

// reason strips the path from an error: the sentence around it names it.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// copier copies the files of a data dir.
type copier struct {
	ctx   context.Context
	fs    vfs.FS
	pacer *reconcile.Pacer            // nil: as fast as it goes
	least func(u vfs.DiskUsage) int64 // how many bytes of a disk stay free
	whole bool                        // nothing is linked
	buf   []byte
	pace  int

	files  int
	bytes  int64 // of them
	copied int64 // of those that could not be linked
}

// dataDir makes a data dir in to, of a store and what there is of the journals.
func (c *copier) dataDir(store, to string, records, series journal.Parts) error {
	names, err := c.fs.List(store)
	if err != nil {
		return fmt.Errorf("list %q: %w", store, reason(err))
	}
	dirs := []string{c.fs.PathJoin(to, "store"), c.fs.PathJoin(to, "journal", "series"), c.fs.PathJoin(to, "journal")}
	for _, dir := range dirs {
		if err := dirsync.Make(c.fs, dir); err != nil {
			return fmt.Errorf("make %q: %w", dir, reason(err))
		}
	}
	for _, name := range names {
		path := c.fs.PathJoin(store, name)
		info, err := c.fs.Stat(path)
		if err != nil {
			return fmt.Errorf("read the store: %w", err)
		}
		if info.IsDir() || name == "LOCK" {
			continue
		}
		if err := c.take(path, c.fs.PathJoin(dirs[0], name), info.Size(), tsdb.Shareable(name)); err != nil {
			return err
		}
	}
	for i, parts := range []journal.Parts{series, records} {
		for _, p := range parts.List {
			if err := c.take(p.Path, c.fs.PathJoin(dirs[1+i], p.Name), p.Bytes, p.Closed); err != nil {
				return err
			}
		}
	}
	return makeDurable(c.fs, append(dirs, to)...)
}

// take links a file, or copies so much of it. Its directory is for the caller to sync.
func (c *copier) take(from, to string, size int64, shareable bool) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if shareable && !c.whole {
		err := c.fs.Link(from, to)
		if err == nil {
			return c.linked(to, size)
		}
		if errors.Is(err, fs.ErrExist) || isNotExist(err) {
			return fmt.Errorf("link %q: %w", from, reason(err))
		}
		c.whole = true // it is another disk, or one without links
	}
	f, err := c.fs.Open(from, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("copy %q: %w", from, reason(err))
	}
	c.copied += size
	return errors.Join(c.write(to, io.LimitReader(f, size)), f.Close())
}

// linked counts a link, and syncs it: the journal may have left that to the kernel.
func (c *copier) linked(path string, size int64) error {
	f, err := c.fs.Open(path)
	if err != nil {
		return fmt.Errorf("sync %q: %w", path, reason(err))
	}
	c.files++
	c.bytes += size
	return errors.Join(f.Sync(), f.Close())
}

// write makes a file, durable but for its directory's entry.
func (c *copier) write(path string, from io.Reader) (err error) {
	created, err := c.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("make %q: %w", path, reason(err))
	}
	f := vfs.NewSyncingFile(created, vfs.SyncingFileOptions{BytesPerSync: syncBytes})
	defer func() { err = errors.Join(err, f.Close()) }()
	if c.buf == nil {
		c.buf = make([]byte, pieceBytes)
	}
	for {
		n, err := io.ReadFull(from, c.buf)
		if n > 0 {
			if err := c.gently(path); err != nil {
				return err
			}
			if _, err := f.Write(c.buf[:n]); err != nil {
				return fmt.Errorf("write %q: %w", path, reason(err))
			}
			c.bytes += int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return fmt.Errorf("copy to %q: %w", path, reason(err))
		}
	}
	c.files++
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %q: %w", path, reason(err))
	}
	return nil
}

// gently is called for each piece.
func (c *copier) gently(path string) error {
	if c.pace++; c.pace%piecesALook == 1 {
		u, err := c.fs.GetDiskUsage(c.fs.PathDir(path))
		if err == nil && int64(min(u.AvailBytes, 1<<62)) < c.least(u)+piecesALook*pieceBytes {
			return fmt.Errorf("%w: its disk would have less than --min-free-disk left", ErrShort)
		}
	}
	if c.pacer == nil {
		return c.ctx.Err()
	}
	return c.pacer.Step(c.ctx)
}
