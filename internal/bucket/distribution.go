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
//	varint     key of the first bin, zigzag
//	for each bin, ascending by key:
//	  uvarint  weight << 2 | g << 1 | f     f: the weight is not a whole number up to 2^53
//	  f = 1: 8 bytes                        the weight, float64, little endian
//	  g = 1: uvarint                        how far the next key is above this one, at least 2; g = 0: 1
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

// The lowest bits of a bin's first uvarint.
const (
	binRaw = 1 // the weight is a float64
	binGap = 2 // there is no bin next to it; never set at the last bin
)

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
	d.Count, d.Sum = plus(d.Count, o.Count), plus(d.Sum, o.Sum)
	d.Min, d.Max = min(d.Min, o.Min), max(d.Max, o.Max)
	d.bins.merge(o.bins)
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
	dst = binary.AppendVarint(dst, int64(d.bins[0].key))
	for i, b := range d.bins {
		gap := uint64(1)
		if i+1 < len(d.bins) {
			gap = uint64(d.bins[i+1].key - b.key)
		}
		head := uint64(0)
		if gap > 1 {
			head = binGap
		}
		if b.weight == math.Trunc(b.weight) && b.weight <= maxWhole {
			dst = binary.AppendUvarint(dst, uint64(b.weight)<<2|head)
		} else {
			dst = append(dst, byte(head|binRaw))
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(b.weight))
		}
		if gap > 1 {
			dst = binary.AppendUvarint(dst, gap)
		}
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
	if n == 0 || n > uint64(r.left()) {
		r.fail(begin, "a number of bins that the bytes cannot hold")
		return
	}
	begin = r.at
	key := r.varint()
	d.bins = slices.Grow(d.bins, int(n))
	for i := range n {
		if key < -maxKey || key > maxKey || key != 0 && key > -minKey && key < minKey {
			r.fail(begin, "a bin beyond all values")
		}
		weight, gap := r.bin()
		if gap > 1 && i == n-1 {
			r.fail(r.at, "a gap after the last bin")
		}
		if r.err != nil {
			return
		}
		d.bins = append(d.bins, bin{int32(key), weight})
		begin = r.at
		key += gap
	}
	if d.bins.fold() {
		r.fail(begin, "bins further apart than any that are kept")
	}
}

// bin reads a bin's weight, and how far the next key is above it.
func (r *reader) bin() (weight float64, gap int64) {
	begin := r.at
	head := r.uvarint()
	weight = float64(head >> 2)
	if head&binRaw != 0 {
		weight = r.float64()
	}
	if !(weight > 0) || head>>2 > maxWhole || head&binRaw != 0 && head>>2 != 0 {
		r.fail(begin, "a weight that is not above 0, or too large")
	}
	if head&binGap == 0 {
		return weight, 1
	}
	begin = r.at
	u := r.uvarint()
	if u < 2 || u > 2*maxKey {
		r.fail(begin, "a gap that is none, or beyond all values")
		return weight, 1
	}
	return weight, int64(u)
}

// Reset empties the distribution and keeps the memory of its bins.
func (d *Distribution) Reset() { *d = Distribution{bins: d.bins[:0]} }

// Size returns the bytes of memory that the distribution takes.
func (d *Distribution) Size() int {
	return int(unsafe.Sizeof(*d)) + cap(d.bins)*int(unsafe.Sizeof(bin{}))
}
