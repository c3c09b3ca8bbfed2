package chunk

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/zstd"
)

const (
	manyPlanes = 0x80 // + how many
	maxPlanes  = 7
	maxLow     = 47
	histBits   = 12 // of offsets that are counted one by one
)

// encoder is scratch space, 130 KiB of it.
type encoder struct {
	huff  huff0.Scratch
	zstd  *zstd.Encoder
	ints  [MaxSlots]int64
	bytes [MaxSlots]byte
	nums  [MaxSlots]float64
	hist  [1 << histBits]uint32
	nlogn [MaxSlots + 1]float32 // c * log2 c
	other []byte
}

// tableBits is roughly what a code's table takes for each symbol that it spans.
const tableBits = 2.6

// cost returns roughly how many bits a plane takes that has these counts.
func (e *encoder) cost(hist []uint32, n int) float32 {
	if e.nlogn[2] == 0 {
		for c := 2; c <= MaxSlots; c++ {
			e.nlogn[c] = float32(float64(c) * math.Log2(float64(c)))
		}
	}
	sum, last := float32(0), 0
	for i, c := range hist {
		if c != 0 {
			sum += e.nlogn[c]
			last = i
		}
	}
	code := e.nlogn[n] - sum
	if code == 0 {
		return 16 // all are equal
	}
	return min(max(code, float32(n))*1.005+float32(last)*tableBits+40, float32(n)*8)
}

// shape is how integers become planes.
type shape struct {
	min, max int64
	low      int // bits cut off, if there is one plane
	planes   int
	holes    bool // symbol 0 of the plane is for slots without an event
	bits     float32
}

// shapeOf chooses the cheapest shape for vals. absent is how many slots without an event
// the plane would have beside them.
func (e *encoder) shapeOf(vals []int64, absent int) shape {
	s := shape{min: vals[0], max: vals[0], planes: 1, holes: absent > 0}
	for _, v := range vals {
		s.min, s.max = min(s.min, v), max(s.max, v)
	}
	span := uint64(s.max - s.min)
	extra := 0
	if s.holes {
		extra = 1
	}
	lowest := 0
	for span>>lowest > uint64(255-extra) {
		lowest++
	}
	cut := max(bits.Len64(span)-histBits, 0) // what the histogram does not tell apart
	cut = min(cut, lowest)
	size := int(span>>cut) + 1
	hist := e.hist[:size]
	clear(hist)
	for _, v := range vals {
		hist[uint64(v-s.min)>>cut]++
	}
	s.bits = math.MaxFloat32
	for k := cut; k <= min(lowest+5, maxLow); k++ {
		if k >= lowest {
			cost := e.cost(hist, len(vals)) + float32(k*len(vals))
			if s.holes {
				n := len(vals) + absent
				h := e.nlogn[n] - e.nlogn[absent] - e.nlogn[len(vals)] // of being there
				cost = max(cost+h, float32(n+k*len(vals)))
			}
			if cost < s.bits {
				s.bits, s.low = cost, k
			}
		}
		if len(hist) == 1 {
			break
		}
		half := (len(hist) + 1) / 2
		for i := range half {
			c := hist[2*i]
			if 2*i+1 < len(hist) {
				c += hist[2*i+1]
			}
			hist[i] = c
		}
		hist = hist[:half]
	}
	if lowest > 0 && !s.holes {
		e.tryPlanes(&s, vals, span)
	}
	return s
}

// tryPlanes takes several planes if they are cheaper than low bits.
func (e *encoder) tryPlanes(s *shape, vals []int64, span uint64) {
	planes := (bits.Len64(span) + 7) / 8
	if planes < 2 || planes > maxPlanes {
		return
	}
	cost := float32(0)
	for p := range planes {
		hist := e.hist[:256]
		clear(hist)
		for _, v := range vals {
			hist[byte(uint64(v-s.min)>>(8*p))]++
		}
		if cost += e.cost(hist, len(vals)); cost >= s.bits {
			return
		}
	}
	s.planes, s.low, s.bits = planes, 0, cost
}

// appendInts appends a column in its cheapest shape.
func (e *encoder) appendInts(dst []byte, vals []int64) []byte {
	if len(vals) == 0 {
		return dst
	}
	s := e.shapeOf(vals, 0)
	dst = binary.AppendVarint(dst, s.min)
	if s.planes > 1 {
		dst = append(dst, manyPlanes|byte(s.planes))
		for p := range s.planes {
			for i, v := range vals {
				e.bytes[i] = byte(uint64(v-s.min) >> (8 * p))
			}
			dst = e.appendPlane(dst, e.bytes[:len(vals)])
		}
		return dst
	}
	dst = append(dst, byte(s.low))
	for i, v := range vals {
		e.bytes[i] = byte(uint64(v-s.min) >> s.low)
	}
	dst = e.appendPlane(dst, e.bytes[:len(vals)])
	return appendLow(dst, vals, s)
}

// appendLow appends the bits that the plane does not have.
func appendLow(dst []byte, vals []int64, s shape) []byte {
	if s.low == 0 {
		return dst
	}
	mask := uint64(1)<<s.low - 1
	acc, n := uint64(0), 0
	for _, v := range vals {
		acc |= (uint64(v-s.min) & mask) << n
		for n += s.low; n >= 8; n -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	if n > 0 {
		dst = append(dst, byte(acc))
	}
	return dst
}

// low returns the packed bits of n values, with room behind them to be read eight bytes at
// a time.
func (d *Decoder) lowBits(r *reader, n, k int) []byte {
	b := r.bytes((n*k + 7) / 8)
	d.low = append(append(d.low[:0], b...), 0, 0, 0, 0, 0, 0, 0, 0)
	return d.low
}

// ints decodes a column of n integers.
func (d *Decoder) ints(r *reader, n int, dst []int64) []int64 {
	dst = dst[:n]
	if n == 0 {
		return dst
	}
	base, begin := r.varint(), r.at
	form := r.byte()
	if base > 2*maxWhole || base < -2*maxWhole {
		r.fail(begin, "a smallest value that no column has")
	}
	planes, k := 1, int(form)
	if form >= manyPlanes {
		planes, k = int(form-manyPlanes), 0
	}
	if k > maxLow || planes > maxPlanes || planes < 1 {
		r.fail(begin, "an unknown shape of a column")
		return dst
	}
	for p := range planes {
		plane := d.plane(r, n, d.planes[:])
		if p == 0 {
			for i, b := range plane {
				dst[i] = base + int64(b)<<k
			}
			continue
		}
		for i, b := range plane {
			dst[i] += int64(b) << (8 * p)
		}
	}
	if k > 0 {
		low, mask := d.lowBits(r, n, k), uint64(1)<<k-1
		if r.err != nil {
			return dst
		}
		for i, at := 0, 0; i < n; i, at = i+1, at+k {
			dst[i] += int64(binary.LittleEndian.Uint64(low[at>>3:]) >> (at & 7) & mask)
		}
	}
	return dst
}
