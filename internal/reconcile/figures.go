package reconcile

import (
	"bytes"
	"math"
	"slices"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

const (
	// tolerance of sums of fractions, as a share of the sum of their magnitudes: a
	// billion additions in another order differ by less, and an event of a billion by as much.
	tolerance = 1e-9
	// maxWhole is the largest whole number up to which every one is a float64.
	maxWhole = 1 << 53
	// maxRivals bounds the readings with one place in time that are kept.
	maxRivals = 16
)

// amount is a sum, and how exactly it is known.
type amount struct {
	sum, size float64 // size: sum of the magnitudes
	broken    bool    // fractions are in it
}

func (a *amount) add(v float64) {
	a.sum += v
	a.size += math.Abs(v)
	a.broken = a.broken || v != math.Trunc(v)
}

func (a *amount) merge(b amount) {
	a.sum += b.sum
	a.size += b.size
	a.broken = a.broken || b.broken
}

// same reports whether two sums are the same, as far as that can be told.
func (a amount) same(b amount) bool {
	size := max(a.size, b.size)
	if !a.broken && !b.broken && size <= maxWhole {
		return a.sum == b.sum
	}
	return math.Abs(a.sum-b.sum) <= tolerance*size
}

// figures are what a bucket of a gauge, a distribution or a set comes to; of one metric,
// and any number of its series and seconds.
type figures struct {
	amount
	count    amount
	min, max float64
	at       bucket.At // of the last reading
	rivals   []float64 // readings at that place, each once; nil beyond maxRivals
	many     bool      // there were more
	relative bool      // a reading depends on others, so that only the count is known
	set      *bucket.Set
}

func (f *figures) extend(low, high float64) {
	if f.count.size == 0 {
		f.min, f.max = low, high
	}
	f.min, f.max = min(f.min, low), max(f.max, high)
}

// reading adds a gauge's.
func (f *figures) reading(v float64, at bucket.At) {
	f.extend(v, v)
	f.add(v)
	f.count.add(1)
	f.rival(v, at)
}

func (f *figures) rival(v float64, at bucket.At) {
	if later := at.Sec > f.at.Sec || at.Sec == f.at.Sec && at.Late > f.at.Late; later || f.at == (bucket.At{}) {
		f.at, f.rivals, f.many = at, append(f.rivals[:0], v), false
		return
	}
	if at != f.at || f.many || slices.Contains(f.rivals, v) {
		return
	}
	if f.rivals = append(f.rivals, v); len(f.rivals) > maxRivals {
		f.rivals, f.many = nil, true
	}
}

// observation adds a distribution's.
func (f *figures) observation(v, weight float64) {
	f.extend(v, v)
	f.add(v * weight)
	f.count.add(weight)
}

// member adds a set's.
func (f *figures) member(hash uint64) {
	if f.set == nil {
		f.set = &bucket.Set{}
	}
	f.set.Insert(hash)
}

// take adds a whole bucket, which stays the caller's.
func (f *figures) take(b bucket.Bucket) {
	switch b := b.(type) {
	case *bucket.Gauge:
		f.extend(b.Min, b.Max)
		f.add(b.Sum)
		f.count.add(b.Count)
		f.rival(b.Last, b.At)
	case *bucket.Distribution:
		f.extend(b.Min, b.Max)
		f.add(b.Sum)
		f.count.add(b.Count)
	case *bucket.Set:
		if f.set == nil {
			f.set = &bucket.Set{}
		}
		f.set.Merge(b)
	}
}

// merge adds other figures of the same kind.
func (f *figures) merge(o *figures) {
	if o.count.size > 0 {
		f.extend(o.min, o.max)
		f.amount.merge(o.amount)
		f.count.merge(o.count)
		f.relative = f.relative || o.relative
	}
	for _, v := range o.rivals {
		f.rival(v, o.at)
	}
	if o.many {
		f.rival(o.min, o.at)
		if f.at == o.at {
			f.rivals, f.many = nil, true
		}
	}
	if o.set != nil {
		f.take(o.set)
	}
}

// bytes is roughly what f takes.
func (f *figures) bytes() int {
	if f.set != nil {
		return f.set.Size()
	}
	return 8 * cap(f.rivals)
}

// unequal is one figure that differs.
type unequal struct {
	figure           string
	expected, stored float64
}

// compare returns what is not as expected of a bucket of kind k.
func (f *figures) compare(k metric.Kind, stored *figures) (out []unequal) {
	differ := func(what string, expected, found float64) {
		out = append(out, unequal{what, expected, found})
	}
	if k == metric.Set {
		if !bytes.Equal(encode(f.set), encode(stored.set)) {
			differ("members", estimate(f.set), estimate(stored.set))
		}
		return out
	}
	if !f.count.same(stored.count) {
		differ("count", f.count.sum, stored.count.sum)
	}
	if f.relative {
		return out
	}
	if !f.amount.same(stored.amount) {
		differ("sum", f.sum, stored.sum)
	}
	if f.min != stored.min {
		differ("min", f.min, stored.min)
	}
	if f.max != stored.max {
		differ("max", f.max, stored.max)
	}
	if k == metric.Gauge && !f.lastIs(stored) {
		differ("last", newest(f.rivals), newest(stored.rivals))
	}
	return out
}

// lastIs reports whether what is stored as last readings are readings that may be.
func (f *figures) lastIs(stored *figures) bool {
	if f.at != stored.at {
		return false
	}
	if f.many || stored.many {
		return true
	}
	for _, v := range stored.rivals {
		if !slices.Contains(f.rivals, v) {
			return false
		}
	}
	return len(stored.rivals) > 0 == (len(f.rivals) > 0)
}

func newest(rivals []float64) float64 {
	if len(rivals) == 0 {
		return 0
	}
	return slices.Max(rivals)
}

func encode(s *bucket.Set) []byte {
	if s == nil {
		return nil
	}
	return s.Append(nil, 0)
}

func estimate(s *bucket.Set) float64 {
	if s == nil {
		return 0
	}
	return s.Estimate()
}
