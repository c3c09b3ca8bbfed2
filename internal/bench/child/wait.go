//go:build linux

package child

import (
	"context"
	"errors"
	"net"
	"time"
)

// setupTime bounds how long a child may take until it can be used; pollEvery is how
// often it is asked.
const (
	setupTime = 2 * time.Minute
	pollEvery = 10 * time.Millisecond
)

// Wait waits for d, or until ctx ends.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// until tries f until it succeeds, for two minutes at most, and returns its last error.
func until(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if stopped := Wait(ctx, pollEvery); stopped != nil {
			return errors.Join(stopped, err)
		}
	}
}

// FreePort returns a port of 127.0.0.1 that nobody has, for UDP and TCP.
func FreePort() (int, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			if err := l.Close(); err != nil {
				return 0, err
			}
			continue
		}
		return port, errors.Join(l.Close(), u.Close())
	}
	return 0, errors.New("no port of 127.0.0.1 is free for UDP and TCP")
}
