package chunk

import (
	"encoding/binary"
	"math"
)

// What a column of numbers begins with: how many decimal places its integers have, or
// that they are float64s.
const (
	maxPlaces = 6
	rawFloats = 0x10
)

var powers = [maxPlaces + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6}

// scale turns nums into integers to be divided by 10^e, with the smallest e by which they come
// back bit for bit; false: there is none.
func scale(nums []float64, ints []int64) (e int, ok bool) {
	for i := 0; i < len(nums); {
		v := nums[i]
		n := math.Round(v * powers[e])
		if math.Abs(n) <= maxWhole && n/powers[e] == v {
			ints[i] = int64(n)
			i++
			continue
		}
		if e++; e > maxPlaces {
			return 0, false
		}
		i = 0
	}
	return e, true
}

// appendNumbers appends a column. nums may not be e.nums.
func (e *encoder) appendNumbers(dst []byte, nums []float64) []byte {
	if len(nums) == 0 {
		return dst
	}
	if places, ok := scale(nums, e.ints[:]); ok {
		return e.appendInts(append(dst, byte(places)), e.ints[:len(nums)])
	}
	return e.appendFloats(dst, nums)
}

func (e *encoder) appendFloats(dst []byte, nums []float64) []byte {
	dst = append(dst, rawFloats)
	for p := range 8 {
		for i, v := range nums {
			e.bytes[i] = byte(math.Float64bits(v) >> (8 * p))
		}
		dst = e.appendPlane(dst, e.bytes[:len(nums)])
	}
	return dst
}

// numbers decodes a column of n numbers.
func (d *Decoder) numbers(r *reader, n int, dst []float64) []float64 {
	return d.numbersIn(r, n, dst, 0, n)
}

// numbersIn is numbers, of which only those at the places [from, to) are wanted.
func (d *Decoder) numbersIn(r *reader, n int, dst []float64, from, to int) []float64 {
	dst = dst[:n]
	if n == 0 {
		return dst
	}
	begin := r.at
	places := r.byte()
	if places == rawFloats {
		d.floats(r, dst)
		return dst
	}
	if places > maxPlaces {
		r.fail(begin, "an unknown form of numbers")
		return dst
	}
	d.fastInts(r, dst, from, to)
	if places > 0 {
		by := powers[places]
		for i := range dst[from:to] {
			dst[from+i] /= by
		}
	}
	return dst
}

func (d *Decoder) floats(r *reader, dst []float64) {
	begin := r.at
	bits := d.bits[:len(dst)]
	clear(bits)
	for p := range 8 {
		for i, b := range d.plane(r, len(dst), d.planes[:]) {
			bits[i] |= uint64(b) << (8 * p)
		}
	}
	for i, b := range bits {
		v := math.Float64frombits(b)
		if v-v != 0 {
			r.fail(begin, "a number that is not finite")
			v = 0
		}
		dst[i] = v + 0 // -0 is 0
	}
}

// fastInts is ints with float64s as the result, at the places [from, to), in one pass over one
// plane or two.
func (d *Decoder) fastInts(r *reader, dst []float64, from, to int) {
	peek := *r
	base := peek.varint()
	k := int(peek.byte())
	switch {
	case base > 2*maxWhole || base < -2*maxWhole || k > maxLow && k != manyPlanes+2:
		for i, v := range d.ints(r, len(dst), d.offsets[:])[from:to] {
			dst[from+i] = float64(v)
		}
	case k == manyPlanes+2:
		*r = peek
		low := d.plane(r, len(dst), d.planes[:])[from:to]
		high := d.plane(r, len(dst), d.high[:])[from:to]
		high, wanted := high[:len(low)], dst[from:to][:len(low)]
		for i, b := range low {
			wanted[i] = float64(base + int64(b) + int64(high[i])<<8)
		}
	default:
		*r = peek
		plane := d.plane(r, len(dst), d.planes[:])
		d.join(r, plane, dst, base, k, from, to)
	}
}

// join puts a plane and its low bits together, at the places [from, to).
func (d *Decoder) join(r *reader, plane []byte, dst []float64, base int64, k, from, to int) {
	plane = plane[:len(dst)]
	if k == 0 {
		wanted := dst[from:to]
		for i, b := range plane[from:to] {
			wanted[i] = float64(base + int64(b))
		}
		return
	}
	low, mask := d.lowBits(r, len(dst), k), uint64(1)<<k-1
	if r.err != nil {
		return
	}
	i := from &^ 7
	if k < 8 { // the bits of eight are k whole bytes
		for ; i+8 <= len(dst) && i < to; i += 8 {
			l := binary.LittleEndian.Uint64(low[i/8*k:])
			p, to := plane[i:i+8:i+8], dst[i:i+8:i+8]
			for j := range to {
				to[j] = float64(base + int64(uint64(p[j])<<(k&7)|l&mask))
				l >>= k & 7
			}
		}
	}
	for at := i * k; i < to; i, at = i+1, at+k {
		l := binary.LittleEndian.Uint64(low[at>>3:]) >> (at & 7) & mask
		dst[i] = float64(base + int64(plane[i])<<k + int64(l))
	}
}
