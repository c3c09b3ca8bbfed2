//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cairn/internal/bench/child"
)

// memoryRow is the memory of a server whose series are all active every second.
type memoryRow struct {
	series  uint64
	rate    float64 // events a second
	lost    float64 // share of the datagrams that the kernel dropped
	usual   uint64  // bytes resident: the median of the second half
	peak    uint64  // bytes resident, ever
	heap    uint64  // bytes that the collector's heap has in use, at the end
	flushes uint64
	longest float64 // seconds of a flush
}

const (
	memoryRate = 2_000_000 // events a second: each series has an event or two in every one
	memorySecs = 60        // grace and flush interval go by several times
)

// memory sends a sustained load of a million series.
func (b *bench) memory(ctx context.Context) (out memoryRow, err error) {
	w := workloadNamed("b1m")
	s, err := b.startCairn(ctx, 4*setupTime)
	if err != nil {
		return out, err
	}
	defer s.close()
	m := startMeter(ctx, s)
	r, _, err := b.sendTo(ctx, s, setupTime, w.flags("-g", child.Segments, "-d", fmt.Sprint(memorySecs), "-r", fmt.Sprint(memoryRate))...)
	samples, failed := m.stop()
	if err == nil {
		err = failed
	}
	if err != nil {
		return out, err
	}
	half := samples[len(samples)/2:]
	slices.Sort(half)
	if _, out.peak, err = resident(s.PID()); err != nil {
		return out, err
	}
	f, err := s.Figures(ctx)
	if err != nil {
		return out, err
	}
	out.usual, out.lost, out.rate = half[len(half)/2], r.lost, r.rate()
	out.series, out.heap = uint64(f["cairn_series"]), uint64(f["go_memstats_heap_inuse_bytes"])
	out.flushes, out.longest = uint64(f["cairn_flushes_total"]), f["cairn_flush_longest_seconds"]
	b.say("memory: %d series, %d bytes resident a series, %d at the peak, %.0f%% dropped by the kernel, %d flushes, the longest %.1f s",
		out.series, out.usual/max(1, out.series), out.peak/max(1, out.series), 100*out.lost, out.flushes, out.longest)
	return out, nil
}

// meter reads a process's resident memory once a second.
type meter struct {
	cancel  context.CancelFunc
	done    chan struct{}
	samples []uint64
	err     error
}

func startMeter(ctx context.Context, s *server) *meter {
	ctx, cancel := context.WithCancel(ctx)
	m := &meter{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for {
			now, _, err := resident(s.PID())
			if err != nil {
				m.err = err
				return
			}
			m.samples = append(m.samples, now)
			if child.Wait(ctx, time.Second) != nil {
				return
			}
		}
	}()
	return m
}

func (m *meter) stop() ([]uint64, error) {
	m.cancel()
	<-m.done
	return m.samples, m.err
}
