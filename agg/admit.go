package agg

import (
	"math"

	"cairn/internal/metric"
)

// Admission is what Admit finds out about the events of one batch, for Apply. Its
// zero value is empty; it may be used again after Reset.
type Admission struct {
	weights []Weight
	units   float64
}

// Units returns what the counters among the events that were applied counted.
func (a *Admission) Units() float64 { return a.units }

// Reset empties a.
func (a *Admission) Reset() { a.weights, a.units = a.weights[:0], 0 }

// weigh returns the number of w in a.
func (a *Admission) weigh(w Weight) uint32 {
	if n := len(a.weights); n == 0 || a.weights[n-1] != w { // a client mostly has one rate
		a.weights = append(a.weights, w)
	}
	return uint32(len(a.weights) - 1)
}

// Admit looks up the series of events that lie in buf, checks everything that
// could refuse one, and sets Reason in each. It adds nothing, so that a batch can be
// journaled before it counts, and without what does not. now is when they arrived.
// It returns how many were admitted. The caller holds the lock.
func (s *Stripe) Admit(a *Admission, buf []byte, events []Raw, now metric.UnixMilli) int {
	admitted := 0
	for len(events) > 0 {
		part := events[:min(stage, len(events))]
		s.hashStage(buf, part)
		for i := range part {
			part[i].Reason = s.admit(a, buf, &part[i], s.batch[i], now)
			if part[i].Reason == metric.OK {
				admitted++
			}
		}
		events = events[len(part):]
	}
	return admitted
}

func (s *Stripe) admit(a *Admission, buf []byte, e *Raw, cell uint64, now metric.UnixMilli) metric.Reason {
	name, rest := buf[e.Name:e.Name+uint32(e.NameLen)], buf[e.Rest:e.Rest+uint32(e.RestLen)]
	entry, found := uint32(cell>>32)-1, uint32(cell) == uint32(e.hash) && cell != 0
	if !found || !s.table.equal(entry, name, rest) {
		entry, found = s.table.find(e.hash, name, rest)
	}
	var slot uint32
	var kind metric.Kind
	var w Weight
	if found {
		alias := &s.table.aliases[entry]
		slot, kind, w = alias.slot, alias.how.kind(), s.weights[alias.how.weight()]
	} else {
		i, r, reason := s.intern(name, rest, e, now)
		if reason != metric.OK {
			return reason
		}
		slot, kind, w = i, r.Series.Kind, r.Weight
	}
	e.hash = uint64(slot)<<32 | uint64(howOf(kind, a.weigh(w)))
	return checkNumber(kind, math.Float64frombits(e.Bits), w)
}

// Apply adds the events that Admit, with the same a and now, let pass. No limit
// refuses one: they are in the journal, and will count in any case. It returns how
// many it added. The caller holds the lock; it need not have held it since Admit.
func (s *Stripe) Apply(a *Admission, events []Raw, now metric.UnixMilli) int {
	was := s.trusted
	s.trusted = true
	defer func() { s.trusted = was }()
	applied := 0
	for i := range events {
		e := &events[i]
		if e.Reason != metric.OK {
			continue
		}
		as := how(e.hash)
		w := a.weights[as.weight()]
		if as.kind() == metric.Counter {
			a.units += w.Of(math.Float64frombits(e.Bits))
		}
		if r := s.addAs(uint32(e.hash>>32), as.kind(), w, e, e.Sec, now); r != metric.OK {
			panic("BUG: an admitted event was refused: " + r.String())
		}
		applied++
	}
	s.accepted += uint64(applied)
	s.open += uint64(applied)
	return applied
}

// Crowded reports whether the open seconds take so much memory that what needs
// more is shed. The caller holds the lock.
func (s *Stripe) Crowded() bool { return s.crowded() }

// Trust says whether what comes from now on was accepted before, as in a replay: then
// no limit on memory or metrics refuses it.
func (s *Stripe) Trust(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trusted = on
}
