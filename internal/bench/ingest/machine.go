//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"cairn/internal/bench/child"
	"cairn/internal/clock"
)

// spinCommand as the only argument turns this program into the spinner.
const spinCommand = "spin"

// startSpinner keeps the server's core awake: a virtual core that wakes from a
// halt stalls for milliseconds, in which the kernel drops datagrams of a server
// that is far from busy. It is for paced traffic only: where two virtual cores
// share a real one, it slows the generator, and doubles what the sink takes.
func startSpinner(ctx context.Context) (*child.Process, error) {
	return child.Start(ctx, child.ServerCore, longest, "/proc/self/exe", spinCommand)
}

// spin uses the time that nobody else wants, until its parent kills it. It is a
// process and no goroutine: a thread that starves would stall the collector.
func spin() {
	runtime.LockOSThread()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		return // better no spinner than one that takes the server's time
	}
	c := clock.NewSystem()
	for end := c.Now().Add(longest); c.Now().Before(end); {
		for range 1 << 20 {
		}
	}
}

const receiveLimit = "/proc/sys/net/core/rmem_max"

// raiseReceiveLimit lets the sink have the receive buffer that it asks for. Only
// root can; others measure with what there is.
func raiseReceiveLimit() (restore func() error, err error) {
	restore = func() error { return nil }
	if os.Geteuid() != 0 {
		return restore, nil
	}
	before, err := os.ReadFile(receiveLimit)
	if err != nil {
		return restore, fmt.Errorf("read the limit on receive buffers: %w", err)
	}
	if err := os.WriteFile(receiveLimit, []byte("67108864"), 0); err != nil {
		return restore, nil // a container may not
	}
	return func() error {
		if err := os.WriteFile(receiveLimit, before, 0); err != nil {
			return fmt.Errorf("restore the limit on receive buffers: %w", err)
		}
		return nil
	}, nil
}
