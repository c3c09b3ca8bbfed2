package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/tsdb"
)

// Restore makes a data dir of a backup, which may lie on a medium that is only read. dir
// must not exist, or be empty. Nothing of the backup is linked or changed.
func Restore(ctx context.Context, fs vfs.FS, backup, dir string, log *slog.Logger) (_ *Backup, err error) {
	real := fs == nil
	if real {
		fs = vfs.Default
	}
	b, err := readBackup(fs, backup)
	if err != nil {
		return nil, err
	}
	store, err := tsdb.OpenArchive(backup, tsdb.Options{FS: fs, Log: log})
	if err != nil {
		return nil, fmt.Errorf("the backup's %w", err)
	}
	if err := store.Close(); err != nil {
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	records, series, err := openParts(fs, backup)
	if err != nil {
		return nil, fmt.Errorf("the backup's %w", err)
	}
	if uint64(records.End) != b.JournalEnd || records.Events != b.Journaled {
		return nil, fmt.Errorf("the journal of the backup %q ends at %v, with %d events, and should end at %d, with %d: a part of it is missing, or it was changed", backup, uint64(records.End), records.Events, b.JournalEnd, b.Journaled)
	}
	if inside(dir, backup, real) {
		return nil, fmt.Errorf("data dir %q lies in the backup, which is not changed", dir)
	}
	t := &target{fs: fs, path: dir, dir: dir}
	if err := t.requireEmpty(); err != nil {
		return nil, err
	}
	if err := t.begin(); err != nil {
		return nil, err
	}
	c := &copier{ctx: ctx, fs: fs, whole: true, least: defaultFloor}
	err = c.dataDir(fs.PathJoin(backup, "store"), dir, records, series)
	if err == nil && (c.files != b.Files || c.bytes != b.Bytes) {
		err = fmt.Errorf("the backup has %d files with %d bytes, and should have %d with %d: a part of it is missing, or it was changed", c.files, c.bytes, b.Files, b.Bytes)
	}
	if err == nil {
		err = makeLock(fs, dir)
	}
	if err == nil {
		err = t.unmark()
	}
	if err != nil {
		return nil, fmt.Errorf("restore to %q: %w", dir, errors.Join(err, t.empty()))
	}
	return b, nil
}

// requireEmpty refuses a data dir that has something in it.
func (t *target) requireEmpty() error {
	names, err := t.fs.List(t.path)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data dir %q: %w", t.path, reason(err))
	}
	for _, name := range names {
		if name == incompleteName {
			return fmt.Errorf("data dir %q holds a part of a backup: a restore was ended, or is under way; remove it if that has ended", t.path)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("data dir %q is not empty; restore to one that does not exist, or move away what is there", t.path)
	}
	return nil
}

// empty removes what was made in a directory that may have been there before.
func (t *target) empty() (err error) {
	if t.lock != nil {
		err = t.lock.Close()
		t.lock = nil
	}
	for _, name := range []string{"store", "journal", "LOCK", incompleteName} {
		err = errors.Join(err, t.fs.RemoveAll(t.fs.PathJoin(t.path, name)))
	}
	return err
}
