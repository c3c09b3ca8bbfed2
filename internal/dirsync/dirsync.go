// Package dirsync makes directories durable.
//
// In come a file system and a path; what is there when a function returns without an
// error is there after a power cut, too. It does not sync files.
package dirsync

import (
	"errors"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/mutant"
)

// Make makes dir and what is missing above it, and syncs the directories that got an
// entry by that: else a crash could lose all that was acknowledged in a new one.
func Make(fsys vfs.FS, dir string) error {
	changed := []string{fsys.PathDir(dir)} // also if dir is there: who made it may have been killed before it was synced
	_, err := fsys.Stat(dir)
	missing := errors.Is(err, fs.ErrNotExist)
	for d := changed[0]; missing; {
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
	if mutant.On("parents-not-synced") {
		return nil
	}
	for _, d := range changed {
		if err := Sync(fsys, d); err != nil && (missing || !errors.Is(err, fs.ErrPermission)) {
			return err
		}
	}
	return nil
}

// Sync makes the entries of a directory durable.
func Sync(fsys vfs.FS, dir string) error {
	f, err := fsys.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
