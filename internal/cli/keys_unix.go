//go:build unix

package cli

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// keyWait is how long, in milliseconds, a wait for keys lasts before it looks whether it is
// still wanted.
const keyWait = 100

// readKeys hands over what is typed until ctx ends, or nothing can be. It waits before it
// reads, because a read of a terminal cannot be stopped.
func readKeys(ctx context.Context, f *os.File, keys chan<- byte) {
	var buf [64]byte
	fd := int(f.Fd())
	for ctx.Err() == nil {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, keyWait)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && n == 0:
			continue
		case err != nil:
			return
		}
		n, err = unix.Read(fd, buf[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return // the terminal went away, or it is an empty file
		}
		if buf[0] == 0x1b {
			continue // an arrow or the like: its letters are no commands
		}
		for _, k := range buf[:n] {
			select {
			case keys <- k:
			case <-ctx.Done():
				return
			}
		}
	}
}
