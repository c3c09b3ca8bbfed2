//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"cairn/internal/bench/child"
)

// losslessRow is what came out of sending below the server's capacity.
type losslessRow struct {
	capacity float64 // events a second, counted flat out
	busy     float64 // share of the core that it took
	rate     float64 // events a second that were sent afterwards
	drops    uint64  // datagrams
	queries  int
	slowest  time.Duration
	waited   time.Duration // that the server was ready to run and others had its core
}

const (
	losslessSecs  = 30
	losslessShare = 0.9
	// pageEvery is how often the page asks.
	pageEvery = time.Second
	// pageQuery is what the page asks for at first: a quarter of an hour of one
	// metric.
	pageQuery = "/api/query?metric=api.requests.count_0000&from=-15m&step=auto"
)

// lossless finds the capacity on workload b, and sends 90% of it for half a
// minute while a page is open.
func (b *bench) lossless(ctx context.Context) (out losslessRow, err error) {
	spinner, err := startSpinner(ctx)
	if err != nil {
		return out, err
	}
	defer spinner.Kill()
	w := workloadNamed("b")
	s, err := b.startCairn(ctx, 6*setupTime)
	if err != nil {
		return out, err
	}
	defer s.close()
	full, _, err := b.cairnRound(ctx, s, w)
	if err != nil {
		return out, err
	}
	out.capacity = full.rate()
	out.busy = full.busy()
	out.rate = losslessShare * out.capacity
	before, err := drained(ctx, s.Port)
	if err != nil {
		return out, err
	}
	waited, err := waitedOf(s.PID())
	if err != nil {
		return out, err
	}
	p := startPage(ctx, s, b)
	_, _, err = b.sendTo(ctx, s, setupTime, w.flags("-g", child.Segments, "-d", fmt.Sprint(losslessSecs), "-r", fmt.Sprintf("%.0f", out.rate))...)
	var asked error
	if out.queries, out.slowest, asked = p.stop(); err == nil {
		err = asked
	}
	if err != nil {
		return out, err
	}
	after, err := drained(ctx, s.Port)
	if err != nil {
		return out, err
	}
	out.drops = after - before
	if out.waited, err = waitedOf(s.PID()); err != nil {
		return out, err
	}
	out.waited -= waited
	b.say("lossless: %.2f M events/s of %.2f, %d datagrams dropped, slowest of %d queries %s; waited %s for the core",
		out.rate/1e6, out.capacity/1e6, out.drops, out.queries, out.slowest.Round(time.Millisecond), out.waited.Round(time.Millisecond))
	return out, nil
}

// page asks what the page asks, as often.
type page struct {
	cancel  context.CancelFunc
	done    chan struct{}
	queries int
	slowest time.Duration
	err     error
}

func startPage(ctx context.Context, s *server, b *bench) *page {
	ctx, cancel := context.WithCancel(ctx)
	p := &page{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for child.Wait(ctx, pageEvery) == nil {
			begin := b.clock.Now()
			if _, err := s.Get(ctx, pageQuery); err != nil {
				if ctx.Err() == nil {
					p.err = fmt.Errorf("ask as the page does: %w", err)
				}
				return
			}
			p.queries++
			p.slowest = max(p.slowest, b.clock.Now().Sub(begin))
		}
	}()
	return p
}

func (p *page) stop() (queries int, slowest time.Duration, err error) {
	p.cancel()
	<-p.done
	return p.queries, p.slowest, p.err
}
