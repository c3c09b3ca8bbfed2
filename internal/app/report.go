package app

import (
	"log/slog"
	"time"

	"cairn/ingest"
	"cairn/internal/metric"
)

// reportEvery is how often at most the log speaks of rejected lines: a sender of
// garbage must not fill the disk with complaints about it.
const reportEvery = 10 * time.Second

// reporter logs what was turned away since the last time, with a sample line.
type reporter struct {
	log       *slog.Logger
	listeners []opened
	last      ingest.Counts
	drop      uint64
	refused   uint64
	stop      chan struct{}
	done      chan struct{}
}

func startReporter(log *slog.Logger, listeners []opened) *reporter {
	r := &reporter{log: log, listeners: listeners, stop: make(chan struct{}), done: make(chan struct{})}
	go r.run()
	return r
}

func (r *reporter) run() {
	defer close(r.done)
	t := time.NewTicker(reportEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.report()
		case <-r.stop:
			r.report()
			return
		}
	}
}

func (r *reporter) report() {
	c, samples := counts(r.listeners)
	for reason := metric.OK + 1; reason < metric.NumReasons; reason++ {
		if n := c.Rejected[reason] - r.last.Rejected[reason]; n > 0 {
			r.log.Warn("lines rejected", "reason", reason.String(), "count", n, "last", samples[reason])
		}
	}
	r.last = c
	var drops, refused uint64
	for _, l := range r.listeners {
		for _, s := range l.Sockets() {
			drops += s.Drops
		}
		if t, ok := l.listener.(*ingest.TCP); ok {
			refused += t.Conns().Refused
		}
	}
	if n := drops - r.drop; n > 0 {
		r.log.Warn("the kernel dropped datagrams because the receive buffer was full; raise net.core.rmem_max and --udp-buffer", "count", n)
	}
	if n := refused - r.refused; n > 0 {
		r.log.Warn("TCP connections were closed at once because there were too many; let clients share connections, or use UDP", "count", n)
	}
	r.drop, r.refused = drops, refused
}

func (r *reporter) close() {
	close(r.stop)
	<-r.done
}
