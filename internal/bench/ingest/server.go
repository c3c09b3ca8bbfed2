//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"cairn/internal/bench/child"
)

// setupTime bounds what is done before and after the sending: the generator makes
// its packets, a server starts, or writes what it holds.
const setupTime = 2 * time.Minute

// pollEvery is how often something is looked at that another process does.
const pollEvery = 10 * time.Millisecond

// drained waits until the server has read its socket empty, and returns the
// kernel's drops.
func drained(ctx context.Context, port int) (drops uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	for {
		s, err := socketOn(port)
		if err != nil || s.queued == 0 {
			return s.drops, err
		}
		if err := child.Wait(ctx, pollEvery); err != nil {
			return 0, fmt.Errorf("wait for an empty socket: %w", err)
		}
	}
}

// startSink starts the null sink and waits for its socket.
func (b *bench) startSink(ctx context.Context, limit time.Duration) (*child.Process, int, error) {
	port, err := child.FreePort()
	if err != nil {
		return nil, 0, err
	}
	p, err := child.Start(ctx, child.ServerCore, limit, b.tools.sink, "-port", strconv.Itoa(port))
	if err != nil {
		return nil, 0, err
	}
	limited, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	for {
		if _, err := socketOn(port); err == nil {
			return p, port, nil
		}
		if err := child.Wait(limited, pollEvery); err != nil {
			p.Kill()
			return nil, 0, fmt.Errorf("wait for the sink: %w", err)
		}
	}
}

// server is a running Cairn with a data dir of its own.
type server struct {
	*child.Cairn
	dir string
}

// startCairn starts Cairn on its core with the flags of the command line.
func (b *bench) startCairn(ctx context.Context, limit time.Duration) (*server, error) {
	dir, err := os.MkdirTemp(b.dir, "data-")
	if err != nil {
		return nil, err
	}
	c, err := child.StartCairn(ctx, child.ServerCore, limit, b.tools.cairn, filepath.Join(dir, "store"), b.serve...)
	if err != nil {
		return nil, err
	}
	return &server{c, dir}, nil
}

// close ends the server, if it still runs, and removes its data.
func (s *server) close() {
	s.Close()
	_ = os.RemoveAll(s.dir) // what is left goes with the folder around it
}

// reading is a server's state at one instant, its socket empty.
type reading struct {
	cpu                        time.Duration
	packets, accepted, receive uint64
	drops                      uint64
}

// read waits for an empty socket and for the batch that was read last.
func (s *server) read(ctx context.Context) (r reading, err error) {
	if r.drops, err = drained(ctx, s.Port); err != nil {
		return r, err
	}
	if r.cpu, err = cpuOf(s.PID()); err != nil {
		return r, err
	}
	for {
		f, err := s.Figures(ctx)
		if err != nil {
			return r, err
		}
		r.accepted = uint64(f["cairn_events_accepted_total"])
		r.receive = uint64(f["cairn_events_received_total"])
		packets := uint64(f["cairn_udp_packets_total"])
		if packets == r.packets && packets > 0 || packets == 0 && r.receive == 0 {
			r.packets = packets
			return r, nil // two readings agree
		}
		r.packets = packets
		if err := child.Wait(ctx, pollEvery); err != nil {
			return r, err
		}
	}
}
