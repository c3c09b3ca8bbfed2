package agg

import (
	"math/rand/v2"
	"sync"

	"cairn/internal/metric"
)

// Aggregator is a set of stripes over one registry.
type Aggregator struct {
	Registry *Registry
	stripes  []*Stripe
	minPack  int // partials that a list must have to be packed

	// shape is held by who reads lists, and by Pack while it replaces one.
	shape sync.RWMutex
}

// New returns an empty stripe for each resolver. rng seeds the stripes' hash
// functions.
func New(l Limits, resolvers []Resolver, rng *rand.Rand) *Aggregator {
	a := &Aggregator{Registry: NewRegistry(l), minPack: minPack}
	for _, resolve := range resolvers {
		a.stripes = append(a.stripes, newStripe(a.Registry, resolve, [3]uint64{rng.Uint64(), rng.Uint64(), rng.Uint64()}))
	}
	return a
}

// Stripe returns stripe i.
func (a *Aggregator) Stripe(i int) *Stripe { return a.stripes[i] }

// Len returns the number of stripes.
func (a *Aggregator) Len() int { return len(a.stripes) }

// holdSlots is how many slots, or list entries, are looked at while a stripe's
// lock is held in the background: about 20 microseconds, in which the fastest
// sender fills a small part of a socket's buffer.
const holdSlots = 4096

// Spill moves every sum of a second before w out of its slot. The stripes stay
// usable meanwhile. It must have returned before Detach(w), and every event that
// is added from now on without a timestamp must arrive in w or later.
func (a *Aggregator) Spill(w metric.UnixSec) {
	for _, s := range a.stripes {
		for from := 0; ; from += holdSlots {
			s.mu.Lock()
			end := min(from+holdSlots, len(s.slots))
			for i := from; i < end; i++ {
				if sl := &s.slots[i]; sl.n > 0 && metric.UnixSec(sl.sec) < w {
					s.spill(uint32(i))
				}
			}
			done := end == len(s.slots)
			s.mu.Unlock()
			if done {
				break
			}
		}
	}
}

// Sealed is what Detach took: immutable until Release.
type Sealed struct{ parts []sealedStripe }

type sealedStripe struct {
	from    *Stripe
	seconds map[metric.UnixSec]*second
}

// Detach takes all seconds before w out of the stripes, in a time that does not
// depend on the number of series. The caller keeps queries out meanwhile.
func (a *Aggregator) Detach(w metric.UnixSec) *Sealed {
	out := new(Sealed)
	for _, s := range a.stripes {
		part := sealedStripe{from: s, seconds: make(map[metric.UnixSec]*second)}
		s.mu.Lock()
		for sec, b := range s.seconds {
			if sec < w {
				part.seconds[sec] = b
				delete(s.seconds, sec)
				s.entries -= b.cost
				s.open -= b.events
			}
		}
		s.recent = nil
		s.mu.Unlock()
		if len(part.seconds) > 0 {
			out.parts = append(out.parts, part)
		}
	}
	return out
}

// Empty reports whether nothing was taken.
func (d *Sealed) Empty() bool { return len(d.parts) == 0 }

// Add takes over the parts of other, which must not be used afterwards.
func (d *Sealed) Add(other *Sealed) { d.parts = append(d.parts, other.parts...) }

// Release gives the memory back to the stripes; d must not be used afterwards.
func (d *Sealed) Release() {
	for _, p := range d.parts {
		p.from.mu.Lock()
		for _, b := range p.seconds {
			p.from.pool.put(b.chunks)
			p.from.bucketPool.put(b.buckets)
		}
		p.from.mu.Unlock()
	}
	d.parts = nil
}

// Events returns the number of events in d.
func (d *Sealed) Events() (n uint64) {
	for _, p := range d.parts {
		for _, b := range p.seconds {
			n += b.events
		}
	}
	return n
}

// Counts is how many events the stripes accepted ever, and how many of them are
// in the stripes now.
type Counts struct{ Accepted, Open uint64 }

// Counts reads the stripes one after the other; each is consistent in itself.
func (a *Aggregator) Counts() (c Counts) {
	for _, s := range a.stripes {
		s.mu.Lock()
		c.Accepted += s.accepted
		c.Open += s.open
		s.mu.Unlock()
	}
	return c
}

// Entries measures what the lists of the stripes take, in units of 16 bytes.
func (a *Aggregator) Entries() (n int) {
	for _, s := range a.stripes {
		s.mu.Lock()
		n += s.entries
		s.mu.Unlock()
	}
	return n
}

// minPack is how many partials a list must have to be worth packing: 64 KiB.
const minPack = 4096

// Pack packs the lists of seconds before w, in which few events arrive any more.
// It must not run beside Spill, Detach or another Pack.
func (a *Aggregator) Pack(w metric.UnixSec) {
	var k packer
	for _, s := range a.stripes {
		s.mu.Lock()
		var old []*second
		for sec, b := range s.seconds {
			if sec < w && b.packable(a.minPack) {
				old = append(old, b)
			}
		}
		s.mu.Unlock()
		for _, b := range old {
			a.pack(&k, s, b)
		}
	}
}

// packable: events with a timestamp change a list in place.
func (b *second) packable(least int) bool { return b.n >= least && b.stamped == nil }

func (a *Aggregator) pack(k *packer, s *Stripe, b *second) {
	s.mu.Lock()
	list := b.partials // what is appended from now on lies behind its end
	s.mu.Unlock()
	p := k.pack(&list)

	a.shape.Lock() // nobody reads the list while its chunks are given back
	defer a.shape.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.packable(a.minPack) {
		return
	}
	all := b.partials
	b.partials = partials{}
	for i := list.n; i < all.n; i++ {
		b.append(&s.pool, *all.at(i))
	}
	s.pool.put(all.chunks)
	b.packed = append(b.packed, p)
	saved := list.n - p.cost()
	b.cost -= saved
	s.entries -= saved
}
