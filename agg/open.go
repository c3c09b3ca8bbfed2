package agg

import (
	"slices"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Visitor takes buckets, each in one or several parts, in no order. i is the number
// under which the reader wants the series. Sum is called for counters, Bucket for
// all other kinds; that of a kind which is not wanted may be nil. A bucket must not be changed, and is only valid during the call.
type Visitor struct {
	Sum    func(i uint32, sec metric.UnixSec, sum float64)
	Bucket func(i uint32, sec metric.UnixSec, b bucket.Bucket)
}

// holdBuckets is holdSlots for buckets, whose visit is a merge.
const holdBuckets = 128

// Open reads the buckets of the wanted series that are still in the stripes.
// want[h] is 1 + the number under which v is to get the series with handle h, or
// 0; handles beyond its end are not wanted. wanted is ascending. Only seconds in [from, to) are given.
//
// Each event is seen exactly once if no Detach runs meanwhile; a stripe's lock is
// held for a moment at a time only.
func (a *Aggregator) Open(want []uint32, wanted []Handle, from, to metric.UnixSec, v Visitor) {
	a.shape.RLock()
	defer a.shape.RUnlock()
	for _, s := range a.stripes {
		s.readOpen(want, wanted, from, to, v)
	}
}

// extent is how far a second's lists reached at one instant.
type extent struct {
	sec     metric.UnixSec
	b       *second
	n       int
	packed  []packed
	buckets []bucketPartial
}

// extents returns those of the seconds in [from, to). The caller holds the lock.
func (s *Stripe) extents(from, to metric.UnixSec) (out []extent) {
	for sec, b := range s.seconds {
		if sec >= from && sec < to {
			out = append(out, extent{sec, b, b.n, b.packed, b.buckets})
		}
	}
	return out
}

func (s *Stripe) readOpen(want []uint32, wanted []Handle, from, to metric.UnixSec, v Visitor) {
	// Slots and the lengths of the lists are taken at one instant: what spills
	// later is behind its list's length and was seen in its slot.
	s.mu.Lock()
	lists := s.extents(from, to)
	for _, h := range wanted {
		if int(h) >= len(s.slots) {
			continue
		}
		sl := &s.slots[h]
		sec := metric.UnixSec(sl.sec)
		switch {
		case sl.n == 0 || sec < from || sec >= to:
		case s.bucketOf[h] == 0:
			v.Sum(want[h]-1, sec, sl.sum)
		default:
			v.Bucket(want[h]-1, sec, s.buckets[s.bucketOf[h]-1])
		}
	}
	s.mu.Unlock()

	for _, l := range lists {
		for at := 0; at < l.n; at += holdSlots {
			s.mu.Lock() // entries of stamped events change in place
			for i := at; i < min(at+holdSlots, l.n); i++ {
				e := l.b.at(i)
				if int(e.slot) < len(want) && want[e.slot] != 0 {
					v.Sum(want[e.slot]-1, l.sec, e.sum)
				}
			}
			s.mu.Unlock()
		}
		visitPacked(l.packed, want, wanted, l.sec, v)
		for part := range slices.Chunk(l.buckets, holdBuckets) {
			s.mu.Lock()
			visitBuckets(part, want, l.sec, v)
			s.mu.Unlock()
		}
	}
}

// visitPacked reads the blocks that hold wanted series. wanted is ascending.
func visitPacked(list []packed, want []uint32, wanted []Handle, sec metric.UnixSec, v Visitor) {
	for i := range list {
		done := -1
		for _, h := range wanted {
			b := int(h / blockSlots)
			if b == done {
				continue
			}
			done = b
			walkBlock(list[i].block(b), b, func(p partial) {
				if int(p.slot) < len(want) && want[p.slot] != 0 {
					v.Sum(want[p.slot]-1, sec, p.sum)
				}
			})
		}
	}
}

func visitBuckets(list []bucketPartial, want []uint32, sec metric.UnixSec, v Visitor) {
	for i := range list {
		if h := list[i].slot; int(h) < len(want) && want[h] != 0 {
			v.Bucket(want[h]-1, sec, list[i].b)
		}
	}
}

// Read is Open for what Detach took.
func (d *Sealed) Read(want []uint32, wanted []Handle, from, to metric.UnixSec, v Visitor) {
	for _, p := range d.parts {
		for sec, b := range p.seconds {
			if sec < from || sec >= to {
				continue
			}
			for i := range b.n {
				e := b.at(i)
				if int(e.slot) < len(want) && want[e.slot] != 0 {
					v.Sum(want[e.slot]-1, sec, e.sum)
				}
			}
			visitPacked(b.packed, want, wanted, sec, v)
			visitBuckets(b.buckets, want, sec, v)
		}
	}
}

// LastSeen returns the latest second with an event of each metric, in the order
// of Registry.Metrics; 0 if there was none since the start.
func (a *Aggregator) LastSeen() []metric.UnixSec {
	out := make([]metric.UnixSec, len(a.Registry.Metrics()))
	see := func(m uint32, sec metric.UnixSec) {
		for int(m) >= len(out) { // a metric that came in meanwhile
			out = append(out, 0)
		}
		out[m] = max(out[m], sec)
	}
	for _, s := range a.stripes {
		s.mu.Lock()
		for m, sec := range s.lastSeen {
			see(uint32(m), sec)
		}
		s.mu.Unlock()
		for from := 0; ; from += holdSlots {
			s.mu.Lock()
			end := min(from+holdSlots, len(s.slots))
			for i := from; i < end; i++ {
				see(s.metricOf[i], metric.UnixSec(s.slots[i].sec))
			}
			done := end == len(s.slots)
			s.mu.Unlock()
			if done {
				break
			}
		}
	}
	return out
}
