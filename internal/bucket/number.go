package bucket

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A number is, in all buckets:
//
//	uvarint        zigzag(n) << 1     a whole number within ±2^53, or
//	01  8 bytes    float64            any other, little endian
//
// so that the first byte is odd only for a float64, and the small whole numbers
// that most counts and readings are take one byte, or two.

// maxWhole is the largest whole number up to which every one is a float64.
const maxWhole = 1 << 53

const rawNumber = 1

func appendNumber(dst []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) <= maxWhole {
		n := int64(v)
		return binary.AppendUvarint(dst, uint64(n<<1^n>>63)<<1)
	}
	dst = append(dst, rawNumber)
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

// plus adds two finite numbers to a finite one. No events add up to more than a
// float64 holds (metric.MaxValue), but bytes from a disk may say anything, and
// what is merged must stay readable.
func plus(a, b float64) float64 {
	return min(max(a+b, -math.MaxFloat64), math.MaxFloat64)
}

// reader reads a bucket's bytes. It remembers the first thing that is wrong and
// returns zeros from there on, so that callers check once.
type reader struct {
	src  []byte
	at   int
	kind string
	err  error
}

func (r *reader) fail(at int, why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s of %d bytes: %s at offset %d", r.kind, len(r.src), why, at)
	}
	r.at = len(r.src)
}

func (r *reader) left() int { return len(r.src) - r.at }

func (r *reader) byte() byte {
	if r.left() < 1 {
		r.fail(r.at, "cut short")
		return 0
	}
	r.at++
	return r.src[r.at-1]
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.src[r.at:])
	if n <= 0 {
		r.fail(r.at, "bad uvarint")
		return 0
	}
	r.at += n
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// number reads a finite number.
func (r *reader) number() float64 {
	begin := r.at
	if r.left() > 0 && r.src[r.at] == rawNumber {
		if r.left() < 9 {
			r.fail(begin, "number cut short")
			return 0
		}
		v := math.Float64frombits(binary.LittleEndian.Uint64(r.src[begin+1:]))
		r.at += 9
		if v-v != 0 {
			r.fail(begin, "a number that is not finite")
			return 0
		}
		return v
	}
	u := r.uvarint()
	n := int64(u>>2) ^ -int64(u>>1&1)
	if u&1 != 0 || n > maxWhole || n < -maxWhole {
		r.fail(begin, "bad number")
		return 0
	}
	return float64(n)
}

// end returns what was wrong; bytes that nobody read are wrong too.
func (r *reader) end() error {
	if r.left() > 0 {
		r.fail(r.at, "trailing bytes")
	}
	return r.err
}
