package bucket

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"cairn/internal/metric"
)

// Distribution is a sketch of the observations of one bucket (bins.go). Its bytes
// are, if there was an observation:
//
//	00         all observations are equal
//	number     count
//	number     value
//
//	01         any
//	number     count
//	number     sum
//	number     min
//	number     max
//	uvarint    n, how many bins
//	for each bin, ascending by key:
//	  varint   key of the first, zigzag; of each other
//	  uvarint  how far it is above the one before it, at least 1
//	  number   weight, above 0
type Distribution struct {
	Count float64 // weight of all observations: how many events they stand for
	Sum   float64 // of value times weight
	Min   float64
	Max   float64

	bins bins
	last int // place of the bin that took the last observation: the next is often alike
}

// The first byte of a distribution.
const (
	formEqual = 0
	formBins  = 1
)

// minBinBytes is what a bin takes at least: a byte each for key and weight.
const minBinBytes = 2

// Kind returns metric.Distribution.
func (d *Distribution) Kind() metric.Kind { return metric.Distribution }

// Observe adds a finite value that stands for weight observations; weight is at
// least 1, and need not be whole.
func (d *Distribution) Observe(v, weight float64) {
	if v-v != 0 || weight-weight != 0 || weight < 1 {
		panic(fmt.Sprintf("BUG: an observation of %g with weight %g", v, weight))
	}
	if d.Count == 0 {
		d.Min, d.Max = v, v
	} else {
		d.Min, d.Max = min(d.Min, v), max(d.Max, v)
	}
	d.Count += weight
	d.Sum += v * weight
	key := keyOf(v)
	if d.last < len(d.bins) && d.bins[d.last].key == key {
		d.bins[d.last].weight += weight
		return
	}
	d.last = d.bins.add(key, weight)
}

// Quantile returns a value that is within 1% of the one at rank q*(Count-1) of
// the observations in ascending order, of which the first has rank 0. q is in
// [0, 1]; 0 gives Min and 1 gives Max. Without observations it is NaN.
func (d *Distribution) Quantile(q float64) float64 {
	switch {
	case d.Count == 0 || q != q:
		return math.NaN()
	case q <= 0:
		return d.Min
	case q >= 1:
		return d.Max
	}
	rank, sum := q*(d.Count-1), 0.0
	for _, b := range d.bins {
		if sum += b.weight; sum > rank {
			return min(max(valueOf(b.key), d.Min), d.Max)
		}
	}
	return d.Max
}

// Above returns the share of the observations that are above x, in [0, 1]. Those
// in the bin of x, which equal it within 2%, are neither above nor below. Without
// observations it is NaN.
func (d *Distribution) Above(x float64) float64 {
	switch {
	case d.Count == 0 || x != x:
		return math.NaN()
	case x < d.Min:
		return 1
	case x >= d.Max:
		return 0
	}
	return min(1, weightOf(d.bins[d.bins.search(keyOf(x)+1):])/d.Count)
}

// Below returns the share of the observations that are below x, as Above does
// for those above.
func (d *Distribution) Below(x float64) float64 {
	switch {
	case d.Count == 0 || x != x:
		return math.NaN()
	case x > d.Max:
		return 1
	case x <= d.Min:
		return 0
	}
	return min(1, weightOf(d.bins[:d.bins.search(keyOf(x))])/d.Count)
}

// Merge adds the observations of another distribution.
func (d *Distribution) Merge(other Bucket) {
	o := mergeable(d, other)
	if o.Count == 0 {
		return
	}
	if d.Count == 0 {
		d.Min, d.Max = o.Min, o.Max
	}
	from := o.bins
	if o == d {
		from = slices.Clone(from)
	}
	d.Count, d.Sum = plus(d.Count, o.Count), plus(d.Sum, o.Sum)
	d.Min, d.Max = min(d.Min, o.Min), max(d.Max, o.Max)
	d.bins.merge(from)
}

// equal reports whether count and one value say all.
func (d *Distribution) equal() bool {
	return len(d.bins) == 1 && d.Min == d.Max && d.Sum == d.Min*d.Count &&
		d.bins[0] == bin{keyOf(d.Min), d.Count}
}

// Append appends the distribution's bytes. base does not matter.
func (d *Distribution) Append(dst []byte, _ metric.UnixSec) []byte {
	if d.Count == 0 {
		return dst
	}
	if d.equal() {
		dst = appendNumber(append(dst, formEqual), d.Count)
		return appendNumber(dst, d.Min)
	}
	dst = append(dst, formBins)
	for _, v := range [...]float64{d.Count, d.Sum, d.Min, d.Max} {
		dst = appendNumber(dst, v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.bins)))
	for i, b := range d.bins {
		if i == 0 {
			dst = binary.AppendVarint(dst, int64(b.key))
		} else {
			dst = binary.AppendUvarint(dst, uint64(b.key-d.bins[i-1].key))
		}
		dst = appendNumber(dst, b.weight)
	}
	return dst
}

// Decode replaces the content by that of src. base does not matter.
func (d *Distribution) Decode(src []byte, _ metric.UnixSec) error {
	d.Reset()
	if len(src) == 0 {
		return nil
	}
	r := reader{src: src, kind: "distribution"}
	switch form := r.byte(); form {
	case formEqual:
		d.decodeEqual(&r)
	case formBins:
		d.decodeBins(&r)
	default:
		r.fail(0, fmt.Sprintf("unknown form 0x%02x", form))
	}
	if err := r.end(); err != nil {
		d.Reset()
		return err
	}
	return nil
}

func (d *Distribution) decodeEqual(r *reader) {
	begin := r.at
	d.Count, d.Min = r.number(), r.number()
	d.Max, d.Sum = d.Min, d.Min*d.Count
	if !(d.Count > 0) || d.Sum-d.Sum != 0 {
		r.fail(begin, "a count that is not above 0, or a sum that is not finite")
		return
	}
	d.bins = append(d.bins, bin{keyOf(d.Min), d.Count})
}

func (d *Distribution) decodeBins(r *reader) {
	begin := r.at
	if d.Count = r.number(); !(d.Count > 0) {
		r.fail(begin, "a count that is not above 0")
	}
	d.Sum = r.number()
	begin = r.at
	if d.Min, d.Max = r.number(), r.number(); d.Min > d.Max {
		r.fail(begin, "a min above the max")
	}
	begin = r.at
	n := r.uvarint()
	if n == 0 || n > uint64(r.left()/minBinBytes) {
		r.fail(begin, "a number of bins that the bytes cannot hold")
		return
	}
	d.bins = slices.Grow(d.bins, int(n))
	for i := range n {
		begin = r.at
		var key int64
		if i == 0 {
			key = r.varint()
		} else {
			gap := r.uvarint()
			if gap == 0 || gap > 2*maxKey {
				r.fail(begin, "bins out of order")
			}
			key = int64(d.bins[i-1].key) + int64(gap)
		}
		if key != 0 && (key < -maxKey || key > maxKey || key > -minKey && key < minKey) {
			r.fail(begin, "a bin beyond all values")
		}
		begin = r.at
		weight := r.number()
		if !(weight > 0) {
			r.fail(begin, "a weight that is not above 0")
		}
		if r.err != nil {
			return
		}
		d.bins = append(d.bins, bin{int32(key), weight})
	}
	if d.bins.fold() {
		r.fail(begin, "bins further apart than any that are kept")
	}
}

// Reset empties the distribution and keeps the memory of its bins.
func (d *Distribution) Reset() { *d = Distribution{bins: d.bins[:0]} }

// Size returns the bytes of memory that the distribution takes.
func (d *Distribution) Size() int {
	return int(unsafe.Sizeof(*d)) + cap(d.bins)*int(unsafe.Sizeof(bin{}))
}
