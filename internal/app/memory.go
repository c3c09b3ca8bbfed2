package app

import (
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"cairn/agg"
)

const (
	// watchEvery is how often memory is looked at: a flood of new series fills some
	// hundred megabytes a second.
	watchEvery = time.Second / 4
	// fullAt and roomAt are the shares of the limit, in percent, at which memory
	// counts as short, and as enough again. What is reachable is what matters:
	// garbage beside it is collected before the limit is reached.
	fullAt, roomAt = 80, 75
	// headroom is how much garbage may gather before a collection, in bytes. Go's
	// default, as much as is reachable, doubles the memory of a million series;
	// with this much a collection comes every few seconds at most.
	headroom = 96 << 20
	// minPercent bounds how hard that makes the collector work.
	minPercent = 20
	// goPercent is Go's default. Another value was set by the operator, and stays.
	goPercent = 100
)

// memory watches what is reachable: it sets how much garbage may gather, and tells
// the registry to take no new series while memory is short.
type memory struct {
	limit    uint64 // bytes; 0: none
	registry *agg.Registry
	log      *slog.Logger
	tuned    bool
	sample   []metrics.Sample
	stop     chan struct{}
	done     chan struct{}
}

func startMemory(limit uint64, r *agg.Registry, log *slog.Logger) *memory {
	m := &memory{
		limit: limit, registry: r, log: log, sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gogc:percent"}},
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	metrics.Read(m.sample)
	m.tuned = m.sample[1].Value.Uint64() == goPercent
	go m.run()
	return m
}

func (m *memory) run() {
	defer close(m.done)
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	percent := goPercent
	for {
		select {
		case <-t.C:
		case <-m.stop:
			if percent != goPercent {
				debug.SetGCPercent(goPercent)
			}
			return
		}
		metrics.Read(m.sample)
		live := m.sample[0].Value.Uint64()
		if p := garbagePercent(live); m.tuned && p != percent {
			debug.SetGCPercent(p)
			percent = p
		}
		m.judge(live)
	}
}

// garbagePercent returns the GOGC at which headroom may gather beside live bytes,
// in steps of 5, because a change stops the program for a moment.
func garbagePercent(live uint64) int {
	if live <= headroom {
		return goPercent
	}
	return max(minPercent, int(headroom*goPercent/live)/5*5)
}

func (m *memory) judge(live uint64) {
	switch full := m.registry.Full(); {
	case m.limit == 0:
	case !full && live*100 > m.limit*fullAt:
		m.registry.SetFull(true)
		m.log.Warn("memory is short: new series fold into __overflow__:true until there is room; raise --max-memory, or send fewer series", "in_use", live, "limit", m.limit)
	case full && live*100 < m.limit*roomAt:
		m.registry.SetFull(false)
		m.log.Info("memory is enough again: new series are kept apart", "in_use", live, "limit", m.limit)
	}
}

func (m *memory) close() {
	close(m.stop)
	<-m.done
}
