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
		for _, k := range commands(buf[:n]) {
			select {
			case keys <- k:
			case <-ctx.Done():
				return
			}
		}
	}
}

// commands returns the bytes of typed that are keys of one byte: the letters of an arrow's
// sequence are no commands.
func commands(typed []byte) (out []byte) {
	for i := 0; i < len(typed); i++ {
		if typed[i] != 0x1b {
			out = append(out, typed[i])
			continue
		}
		if i+1 == len(typed) || typed[i+1] != '[' && typed[i+1] != 'O' {
			continue // the key Esc itself
		}
		for i += 2; i < len(typed) && (typed[i] < 0x40 || typed[i] > 0x7e); {
			i++
		}
	}
	return out
}
