//go:build !unix

package tsdb

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// share takes the lock as a server does: there is none for readers here.
func share(fsys vfs.FS, path string) (io.Closer, error) {
	l, err := fsys.Lock(path)
	if err != nil {
		return nil, ErrInUse
	}
	return l, nil
}
