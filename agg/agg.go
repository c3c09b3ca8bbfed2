package agg

import (
	"math/rand/v2"
	"slices"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Aggregator is a set of stripes over one registry.
type Aggregator struct {
	Registry *Registry
	stripes  []*Stripe
}

// New returns an empty stripe for each resolver. rng seeds the stripes' hash
// functions.
func New(l Limits, resolvers []Resolver, rng *rand.Rand) *Aggregator {
	a := &Aggregator{Registry: NewRegistry(l)}
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
	handles []Handle // of the slots
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
		part.handles = s.handles[:len(s.handles):len(s.handles)]
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

// Counters calls yield once for each counter in d, in the order of handles, with
// its buckets in the order of time, one each. The slice is only valid during the
// call.
func (d *Sealed) Counters(yield func(h Handle, sums []metric.Sum) error) error {
	start := d.offsets(func(b *second, count func(slot uint32)) {
		for i := range b.n {
			count(b.at(i).slot)
		}
	})
	if len(start) == 0 {
		return nil
	}
	all := make([]metric.Sum, start[len(start)-1])
	next := slices.Clone(start)
	for _, p := range d.parts {
		for sec, b := range p.seconds {
			for i := range b.n {
				e := b.at(i)
				h := p.handles[e.slot]
				all[next[h]] = metric.Sum{Sec: sec, Events: e.n, Value: e.sum}
				next[h]++
			}
		}
	}
	for h := range len(start) - 1 {
		if sums := all[start[h]:start[h+1]]; len(sums) > 0 {
			if err := yield(Handle(h), mergeSums(sums)); err != nil {
				return err
			}
		}
	}
	return nil
}

// offsets counts the entries a handle: those of h will lie at [out[h], out[h+1]).
func (d *Sealed) offsets(each func(b *second, count func(slot uint32))) []uint32 {
	handles := 0
	for _, p := range d.parts {
		for _, h := range p.handles {
			handles = max(handles, int(h)+1)
		}
	}
	if handles == 0 {
		return nil
	}
	out := make([]uint32, handles+1)
	for _, p := range d.parts {
		for _, b := range p.seconds {
			each(b, func(slot uint32) { out[p.handles[slot]+1]++ })
		}
	}
	for h := range handles {
		out[h+1] += out[h]
	}
	return out
}

// Buckets is Counters for all other kinds. The buckets must not be changed.
func (d *Sealed) Buckets(yield func(h Handle, dated []bucket.Dated) error) error {
	start := d.offsets(func(b *second, count func(slot uint32)) {
		for i := range b.buckets {
			count(b.buckets[i].slot)
		}
	})
	if len(start) == 0 {
		return nil
	}
	all := make([]bucket.Dated, start[len(start)-1])
	next := slices.Clone(start)
	for _, p := range d.parts {
		for sec, b := range p.seconds {
			for i := range b.buckets {
				e := &b.buckets[i]
				h := p.handles[e.slot]
				all[next[h]] = bucket.Dated{Sec: sec, Events: e.n, Bucket: e.b}
				next[h]++
			}
		}
	}
	for h := range len(start) - 1 {
		if dated := all[start[h]:start[h+1]]; len(dated) > 0 {
			if err := yield(Handle(h), mergeDated(dated)); err != nil {
				return err
			}
		}
	}
	return nil
}

// mergeDated sorts dated by time and merges those of one second, into a bucket
// of its own: queries read the parts meanwhile.
func mergeDated(dated []bucket.Dated) []bucket.Dated {
	slices.SortFunc(dated, func(a, b bucket.Dated) int { return int(a.Sec - b.Sec) })
	n, own := 0, false
	for _, d := range dated[1:] {
		last := &dated[n]
		if d.Sec != last.Sec {
			n++
			dated[n], own = d, false
			continue
		}
		if !own {
			whole := bucket.New(last.Bucket.Kind())
			whole.Merge(last.Bucket)
			last.Bucket, own = whole, true
		}
		last.Events += d.Events
		last.Bucket.Merge(d.Bucket)
	}
	return dated[:n+1]
}

// mergeSums sorts sums by time and adds those of one second, in place.
func mergeSums(sums []metric.Sum) []metric.Sum {
	slices.SortFunc(sums, func(a, b metric.Sum) int { return int(a.Sec - b.Sec) })
	n := 0
	for _, s := range sums[1:] {
		if s.Sec == sums[n].Sec {
			sums[n].Events += s.Events
			sums[n].Value += s.Value
			continue
		}
		n++
		sums[n] = s
	}
	return sums[:n+1]
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
