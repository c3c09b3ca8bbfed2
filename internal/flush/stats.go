package flush

import "time"

// Stats describes the pump's work since New.
type Stats struct {
	Flushes, Failed uint64
	Series          uint64 // of the last flush
	Last, Longest   time.Duration
	Accepted        uint64 // events: taken by the stripes,
	Open            uint64 // of them still there,
	Frozen          uint64 // being flushed,
	Stored          uint64 // and in the store
	Journaled       uint64 // of those that came by datagram or stream: in the journal
	Amended         uint64 // in seconds that were sealed when they came

	// What counters counted: the same in units, but for the current second's.
	AcceptedUnits, OpenUnits, FrozenUnits, StoredUnits float64
}

// Stats returns figures of one instant.
func (p *Pump) Stats() Stats {
	p.view.RLock()
	defer p.view.RUnlock()
	c := p.agg.Counts()
	return Stats{
		Flushes: p.stats.flushes.Load(), Failed: p.stats.failed.Load(), Series: p.stats.series.Load(),
		Last: time.Duration(p.stats.last.Load()), Longest: time.Duration(p.stats.longest.Load()),
		Accepted: c.Accepted, Open: c.Open, Frozen: p.frozen.Events(), Stored: p.stored,
		Journaled: c.Kept, Amended: c.Amended,
		AcceptedUnits: c.Units, OpenUnits: c.OpenUnits, FrozenUnits: p.frozen.Units(), StoredUnits: p.units,
	}
}

// Imbalance is the number of events that are neither open, nor being flushed,
// nor stored; it is 0.
func (s Stats) Imbalance() int64 {
	return int64(s.Accepted) - int64(s.Open) - int64(s.Frozen) - int64(s.Stored)
}
