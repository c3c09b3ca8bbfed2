//go:build unix

package tsdb

import (
	"errors"
	"io"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// share locks the file at path for readers: a process that has taken it with Lock
// keeps them out, and they keep such a one out until they are done. The file is opened
// to be read only, so that it may lie on a medium that cannot be written. Without the
// file there is nobody: a copy need not have it.
func share(fsys vfs.FS, path string) (io.Closer, error) {
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, err
	}
	fd := f.Fd()
	if fd == vfs.InvalidFd {
		return f, nil // in memory: nobody else sees it
	}
	err = syscall.FcntlFlock(fd, syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart})
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES):
		return nil, errors.Join(ErrInUse, f.Close())
	case errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EOPNOTSUPP):
		return f, nil // this file system has no locks; a server would not have started on it
	case err != nil:
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
