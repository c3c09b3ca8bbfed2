package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// smallDisk is a disk of its own, so small that a test can fill it.
type smallDisk struct {
	t       testing.TB
	root    string
	ballast *os.File
}

// diskSize is less than Pebble wants to reserve for its log: it gets none, so that its
// writes find the disk full too.
const diskSize = "size=64m"

func newSmallDisk(t testing.TB) *smallDisk {
	t.Helper()
	d := &smallDisk{t: t, root: t.TempDir()}
	if err := syscall.Mount("tmpfs", d.root, "tmpfs", 0, diskSize); err != nil {
		t.Skipf("a disk of its own needs the right to mount one: %v", err)
	}
	t.Cleanup(func() {
		if d.ballast != nil {
			_ = d.ballast.Close()
		}
		require.NoError(t, syscall.Unmount(d.root, syscall.MNT_DETACH))
	})
	var err error
	d.ballast, err = os.Create(filepath.Join(d.root, "ballast"))
	require.NoError(t, err)
	return d
}

// Data is the data dir on it.
func (d *smallDisk) Data() string { return filepath.Join(d.root, "data") }

func (d *smallDisk) free() int {
	var s syscall.Statfs_t
	require.NoError(d.t, syscall.Statfs(d.root, &s))
	return int(s.Bavail) * int(s.Bsize)
}

// Fill leaves about that many bytes free.
func (d *smallDisk) Fill(leave int) {
	d.t.Helper()
	block := make([]byte, 1<<20)
	for {
		n := min(len(block), d.free()-leave)
		if n <= 0 {
			return
		}
		if _, err := d.ballast.Write(block[:n]); err != nil {
			require.True(d.t, errors.Is(err, syscall.ENOSPC), "%v", err) // the server wrote too
			return
		}
	}
}

// Empty makes room again.
func (d *smallDisk) Empty() {
	d.t.Helper()
	require.NoError(d.t, d.ballast.Truncate(0))
	_, err := d.ballast.Seek(0, 0)
	require.NoError(d.t, err)
}
