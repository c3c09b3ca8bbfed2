package agg

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"cairn/internal/metric"
	"cairn/internal/mutant"
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
		s.Spill(w)
	}
}

// Spill is Aggregator.Spill for one stripe.
func (s *Stripe) Spill(w metric.UnixSec) {
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
			return
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
// depend on the number of series. Of a stripe that keeps deltas it takes what
// a Delta has kept, and leaves the rest, which came since. The caller keeps queries
// out meanwhile.
func (a *Aggregator) Detach(w metric.UnixSec) *Sealed {
	out := new(Sealed)
	for _, s := range a.stripes {
		part := sealedStripe{from: s, seconds: make(map[metric.UnixSec]*second)}
		s.mu.Lock()
		for sec, b := range s.seconds {
			if sec >= w {
				continue
			}
			var rest *second
			if s.deltas && b.kept != b.extent() && !mutant.On("unkept-detached") {
				if b.kept == (extentOf{}) {
					continue
				}
				rest = s.split(b)
			}
			part.seconds[sec] = b
			s.entries -= b.cost
			s.open -= b.events
			s.openUnits -= b.units
			if rest == nil {
				delete(s.seconds, sec)
				continue
			}
			s.seconds[sec] = rest
			s.entries += rest.cost
		}
		s.recent = nil
		s.mu.Unlock()
		if len(part.seconds) > 0 {
			out.parts = append(out.parts, part)
		}
	}
	return out
}

// split cuts off what no Delta has kept. The events that are cut off stay open.
func (s *Stripe) split(b *second) (rest *second) {
	rest = &second{cost: secondCost}
	for i := b.kept.sums; i < b.n; i++ {
		p := b.at(i)
		rest.append(&s.pool, *p)
		rest.events += uint64(p.n)
		rest.units += p.sum
		rest.cost++
	}
	for i := range b.packed[b.kept.packed:] {
		p := b.packed[b.kept.packed+i]
		rest.packed = append(rest.packed, p)
		rest.events += p.events
		rest.units += p.units
		rest.cost += p.cost()
	}
	for _, p := range b.buckets[b.kept.buckets:] {
		rest.buckets = append(rest.buckets, p)
		rest.events += uint64(p.n)
		rest.cost += p.cost()
	}
	b.n, b.packed, b.buckets = b.kept.sums, b.packed[:b.kept.packed], b.buckets[:b.kept.buckets]
	b.stamped = nil
	// The units that the seconds were counted with stay as they were in all: a
	// bucket may have grown since.
	b.cost = max(secondCost, b.cost-(rest.cost-secondCost))
	b.events -= rest.events
	b.units -= rest.units
	return rest
}

// Empty reports whether nothing was taken.
func (d *Sealed) Empty() bool { return len(d.parts) == 0 }

// Add takes over the parts of other, which must not be used afterwards.
func (d *Sealed) Add(other *Sealed) { d.parts = append(d.parts, other.parts...) }

// Release says that what was taken is safe elsewhere, and gives the memory back to the
// stripes; d must not be used afterwards.
func (d *Sealed) Release() {
	for _, p := range d.parts {
		p.from.mu.Lock()
		for _, b := range p.seconds {
			p.from.released += b.events
			p.from.pool.put(b.chunks)
			p.from.bucketPool.put(b.buckets)
		}
		if p.from.keptTally != nil && !p.from.deltas {
			atomic.StoreUint64(p.from.keptTally, p.from.released)
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

// Units returns what the counters in d counted.
func (d *Sealed) Units() (n float64) {
	for _, p := range d.parts {
		for _, b := range p.seconds {
			n += b.units
		}
	}
	return n
}

// Counts is the account of stripes, in events, and in units: what counters
// counted, without the current second's.
type Counts struct {
	Accepted uint64 // ever
	Open     uint64 // of them in the stripes now
	Kept     uint64 // of them in Deltas that were kept
	Amended  uint64 // of them in seconds that were sealed when they came

	Units, OpenUnits float64
}

func (c *Counts) add(s *Stripe) {
	c.Accepted += s.accepted
	c.Open += s.open
	c.Kept += s.kept
	c.Amended += s.amended
	c.Units += s.units
	c.OpenUnits += s.openUnits
}

// Counts reads the stripes one after the other; each is consistent in itself.
func (a *Aggregator) Counts() (c Counts) {
	for _, s := range a.stripes {
		s.mu.Lock()
		c.add(s)
		s.mu.Unlock()
	}
	return c
}

// Counts returns the account of one stripe.
func (s *Stripe) Counts() (c Counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.add(s)
	return c
}

// Seal says that seconds before w are sealed: what comes to them from now on
// amends them.
func (a *Aggregator) Seal(w metric.UnixSec) {
	for _, s := range a.stripes {
		s.mu.Lock()
		s.sealed = max(s.sealed, w)
		s.mu.Unlock()
	}
}

// Tally makes the stripe write how many events it accepted, after each batch, and
// how many of them are safe: those that Deltas have kept, or without Deltas those that
// were released. So another process can read both once this one is gone.
func (s *Stripe) Tally(accepted, kept *uint64) { s.tally, s.keptTally = accepted, kept }

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

// packable: nothing in a packed list tells any more what a Delta has kept of it.
func (b *second) packable(least int) bool {
	if b.n < least {
		return false
	}
	return b.kept.sums == 0 || b.kept.sums == b.n && b.kept.packed == len(b.packed)
}

func (a *Aggregator) pack(k *packer, s *Stripe, b *second) {
	s.mu.Lock()
	if !b.packable(a.minPack) {
		s.mu.Unlock()
		return
	}
	b.stamped = nil    // entries there are stay as they are
	list := b.partials // what is appended from now on lies behind its end
	s.mu.Unlock()
	p := k.pack(&list)

	a.shape.Lock() // nobody reads the list while its chunks are given back
	defer a.shape.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := b.partials
	b.partials = partials{}
	for i := list.n; i < all.n; i++ {
		b.append(&s.pool, *all.at(i))
	}
	for sl, at := range b.stamped {
		if s.bucketOf[sl] == 0 {
			b.stamped[sl] = at - uint32(list.n)
		}
	}
	s.pool.put(all.chunks)
	b.packed = append(b.packed, p)
	if b.kept.sums > 0 {
		b.kept.sums = 0
		b.kept.packed++
	}
	saved := list.n - p.cost()
	b.cost -= saved
	s.entries -= saved
}
