package metric

import "math"

// Never is later than every second.
const Never UnixSec = math.MaxInt64

// Held says how much of a metric each tier holds.
type Held struct {
	Retention // by which it is kept now
	// Since is the first second of which a tier holds all that was ever stored, a
	// multiple of the tier's width, by tier - 1; Never: the tier is not kept.
	Since [len(Tiers)]UnixSec
	// Accounted is the first second behind which the coarsest tier is the one that
	// accounts are kept of.
	Accounted UnixSec
}

// HeldAt returns what is held when the retention's clock shows now.
func (r Retention) HeldAt(now UnixSec) Held {
	h := Held{Retention: r}
	for i, t := range Tiers {
		sec, ok := r.Since(t, now)
		if !ok {
			sec = Never
		}
		h.Since[i] = sec
	}
	h.Accounted = h.From(r.Coarsest())
	return h
}

// From returns the first second of which a tier holds all; Never: the tier is not kept.
func (h *Held) From(t Tier) UnixSec { return h.Since[t-1] }

// Holds reports whether a tier holds all from a second on.
func (h *Held) Holds(t Tier, sec UnixSec) bool { return sec >= h.Since[t-1] }
