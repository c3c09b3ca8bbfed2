package agg

import (
	"slices"

	"cairn/internal/metric"
)

// Hot is a series with the number of its events in some seconds.
type Hot struct {
	Series metric.Series
	Events uint64
}

// Hot returns the n series with the most events in the open seconds [from, to),
// the busiest first, and how many events all series had in them. It counts what
// the stripes hold, so that an event costs nothing and no rank is an estimate; the
// price is a walk over the lists of those seconds (docs/decisions/0004). What
// moves from a slot to a list during the walk may be missed.
func (a *Aggregator) Hot(n int, from, to metric.UnixSec) (top []Hot, all uint64) {
	a.shape.RLock()
	defer a.shape.RUnlock()
	var events []uint64 // by handle
	for _, s := range a.stripes {
		events = s.countOpen(events, from, to)
	}
	type busy struct {
		h Handle
		n uint64
	}
	// list holds the n busiest so far, the busiest first.
	var list []busy
	for h, e := range events {
		all += e
		if e == 0 || len(list) == n && e <= list[n-1].n {
			continue
		}
		at, _ := slices.BinarySearchFunc(list, e, func(b busy, e uint64) int {
			if b.n >= e {
				return -1 // equal ones stay in the order of first sight
			}
			return 1
		})
		list = slices.Insert(list, at, busy{Handle(h), e})
		list = list[:min(n, len(list))]
	}
	for _, b := range list {
		top = append(top, Hot{a.Registry.Series(b.h), b.n})
	}
	return top, all
}

// countOpen adds the events of each series in [from, to) to those in events.
func (s *Stripe) countOpen(events []uint64, from, to metric.UnixSec) []uint64 {
	s.mu.Lock()
	lists := s.extents(from, to)
	series := len(s.slots)
	s.mu.Unlock()
	if n := series - len(events); n > 0 {
		events = append(events, make([]uint64, n)...)
	}
	for _, l := range lists {
		for at := 0; at < l.n; at += holdSlots {
			s.mu.Lock() // entries of stamped events change in place
			for i := at; i < min(at+holdSlots, l.n); i++ {
				e := l.b.at(i)
				events[e.slot] += uint64(e.n)
			}
			s.mu.Unlock()
		}
		for i := range l.packed {
			for b := range len(l.packed[i].blocks) - 1 {
				walkBlock(l.packed[i].block(b), b, func(p partial) { events[p.slot] += uint64(p.n) })
			}
		}
		for part := range slices.Chunk(l.buckets, holdSlots) {
			s.mu.Lock()
			for i := range part {
				events[part[i].slot] += uint64(part[i].n)
			}
			s.mu.Unlock()
		}
	}
	// Slots that still hold such a second: a series that fell silent since.
	for at := 0; at < series; at += holdSlots {
		s.mu.Lock()
		for i := at; i < min(at+holdSlots, series); i++ {
			if sl := &s.slots[i]; metric.UnixSec(sl.sec) >= from && metric.UnixSec(sl.sec) < to {
				events[i] += uint64(sl.n)
			}
		}
		s.mu.Unlock()
	}
	return events
}
