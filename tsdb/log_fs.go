package tsdb

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// logFS ends the process with a sentence where Pebble's log, or a directory, cannot be
// written: Pebble would panic at some of these errors, with locks held that make a
// fatal error of it, and there is nothing that it could do. A checkpoint, which lies
// elsewhere, can fail without it.
type logFS struct {
	vfs.FS
	dir   string // of the store
	fatal func(sentence string)
}

// Create implements vfs.FS.
func (l *logFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, c)
	return l.wrap(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (l *logFS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(old, name, c)
	return l.wrap(name, f, err)
}

func (l *logFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if !strings.HasSuffix(name, ".log") || l.PathDir(name) != l.dir {
		return f, err
	}
	if l.check(err) != nil {
		return nil, err
	}
	return &logFile{f, l}, nil
}

// OpenDir implements vfs.FS.
func (l *logFS) OpenDir(name string) (vfs.File, error) {
	f, err := l.FS.OpenDir(name)
	if name != l.dir {
		return f, err
	}
	if l.check(err) != nil {
		return nil, err
	}
	return &logFile{f, l}, nil
}

// Unwrap implements vfs.FS.
func (l *logFS) Unwrap() vfs.FS { return l.FS }

func (l *logFS) check(err error) error {
	if err != nil {
		l.fatal(fmt.Sprintf("the store cannot go on: its log cannot be written: %s", err))
	}
	return err
}

// logFile is a file of the log, or a directory.
type logFile struct {
	vfs.File
	l *logFS
}

// Write implements vfs.File.
func (f *logFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.l.check(err)
}

// Sync implements vfs.File.
func (f *logFile) Sync() error { return f.l.check(f.File.Sync()) }

// SyncData implements vfs.File.
func (f *logFile) SyncData() error { return f.l.check(f.File.SyncData()) }

// SyncTo implements vfs.File.
func (f *logFile) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	return full, f.l.check(err)
}

// Close implements vfs.File.
func (f *logFile) Close() error { return f.l.check(f.File.Close()) }
