package bucket

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/klauspost/compress/huff0"

	"cairn/internal/metric"
)

// Set estimates the number of different members: a HyperLogLog with 2^14
// registers and, below maxCodes members, the sparse form of HyperLogLog++ with
// 2^25 cells (Heule, Nunkesser, Hall: HyperLogLog in Practice, 2013). What it
// holds depends on the members only, and not on their order or on merges. Its
// bytes are, if there was a member:
//
//	00          sparse
//	uvarint     n, how many cells, at most 2048
//	for each cell with a member, ascending:
//	  uvarint   cell: of the first; of each other how far it is above the one before it, at least 1
//	  byte      rank, 12 to 51: only if the cell's low 11 bits are 0
//
//	01          dense
//	12,288 bytes: the registers, 4 in 3 bytes, little endian, 6 bits each
//
//	02          dense
//	huff0: the registers, one byte each, if that is shorter; Huffman coded as in RFC 8878, section 4.2, one stream
type Set struct {
	codes []uint32 // sparse: sorted, one for each cell
	regs  []byte   // dense: the ranks; empty while sparse
}

// The first byte of a set.
const (
	formSparse  = 0
	formPacked  = 1
	formHuffman = 2
)

// A hash is split into the register, the rest of the cell, and what is left:
//
//	63        50 49        39 38            0
//	[register 14][     11     ][     39     ]
//	[        cell 25          ]
//
// Its rank is the place of the first 1 after the register, counted from 1. If
// there is one in the cell, the cell tells it; else the code has to.
const (
	registerBits = 14
	cellBits     = 25
	restBits     = cellBits - registerBits
	registers    = 1 << registerBits
	cells        = 1 << cellBits
	maxRank      = 64 - registerBits + 1

	// rankBits is the width of a rank in a code, whose upper bits are the cell.
	rankBits = 6

	// maxCodes is how many codes are kept before the registers take over: half of
	// their memory, and an insert moves 4 KiB on average at most.
	maxCodes = 2048

	packedBytes = registers * rankBits / 8
)

// codeOf returns the code of a hash: cell << 6, and the rank where the cell does
// not tell it.
func codeOf(hash uint64) uint32 {
	code := uint32(hash>>(64-cellBits)) << rankBits
	if code&(1<<(restBits+rankBits)-1) == 0 {
		code |= uint32(rankOf(hash))
	}
	return code
}

// rankOf returns the rank of a hash, 1 to maxRank.
func rankOf(hash uint64) byte {
	return byte(bits.LeadingZeros64(hash<<registerBits|1<<(registerBits-1)) + 1)
}

// register returns the register of a code, and the rank.
func register(code uint32) (uint32, byte) {
	cell := code >> rankBits
	rank := byte(code & (1<<rankBits - 1))
	if rest := cell << (32 - restBits); rest != 0 {
		rank = byte(bits.LeadingZeros32(rest) + 1)
	}
	return cell >> restBits, rank
}

// Kind returns metric.Set.
func (s *Set) Kind() metric.Kind { return metric.Set }

// Insert adds a member by its hash (HashMember).
func (s *Set) Insert(hash uint64) {
	if len(s.regs) > 0 {
		at := hash >> (64 - registerBits)
		s.regs[at] = max(s.regs[at], rankOf(hash))
		return
	}
	code := codeOf(hash)
	i, found := slices.BinarySearch(s.codes, code)
	switch {
	case found || i < len(s.codes) && s.codes[i]>>rankBits == code>>rankBits:
		return // the cell has this rank, or a larger one
	case i > 0 && s.codes[i-1]>>rankBits == code>>rankBits:
		s.codes[i-1] = code
	case len(s.codes) < maxCodes:
		s.codes = slices.Insert(s.codes, i, code)
	default:
		s.densify()
		s.insertCode(code)
	}
}

func (s *Set) insertCode(code uint32) {
	i, rank := register(code)
	s.regs[i] = max(s.regs[i], rank)
}

// densify turns codes into registers.
func (s *Set) densify() {
	s.regs = slices.Grow(s.regs, registers)[:registers]
	clear(s.regs)
	for _, code := range s.codes {
		s.insertCode(code)
	}
	s.codes = s.codes[:0]
}

// Merge adds the members of another set.
func (s *Set) Merge(other Bucket) {
	o := mergeable(s, other)
	switch {
	case o == s:
		return
	case len(s.regs) == 0 && len(o.regs) == 0:
		s.mergeCodes(o.codes)
		return
	case len(s.regs) == 0:
		s.densify()
	}
	for _, code := range o.codes {
		s.insertCode(code)
	}
	if len(o.regs) > 0 {
		own, regs := s.regs[:registers], o.regs[:registers]
		for i := range own {
			own[i] = max(own[i], regs[i])
		}
	}
}

// mergeCodes does what bins.merge does.
func (s *Set) mergeCodes(o []uint32) {
	n, m := len(s.codes), len(o)
	c := slices.Grow(s.codes, m)[:n+m]
	own := c[m:]
	copy(own, c[:n])
	w := 0
	for len(own) > 0 && len(o) > 0 {
		switch x, y := own[0], o[0]; {
		case x>>rankBits < y>>rankBits:
			c[w], own = x, own[1:]
		case x>>rankBits > y>>rankBits:
			c[w], o = y, o[1:]
		default:
			c[w] = max(x, y)
			own, o = own[1:], o[1:]
		}
		w++
	}
	w += copy(c[w:], own)
	w += copy(c[w:], o)
	if s.codes = c[:w]; w > maxCodes {
		s.densify()
	}
}

// Append appends the set's bytes. base does not matter.
func (s *Set) Append(dst []byte, _ metric.UnixSec) []byte {
	if len(s.regs) > 0 {
		return s.appendDense(dst)
	}
	if len(s.codes) == 0 {
		return dst
	}
	dst = append(dst, formSparse)
	dst = binary.AppendUvarint(dst, uint64(len(s.codes)))
	prev := uint32(0)
	for _, code := range s.codes {
		cell := code >> rankBits
		dst = binary.AppendUvarint(dst, uint64(cell-prev))
		if cell<<(32-restBits) == 0 {
			dst = append(dst, byte(code&(1<<rankBits-1)))
		}
		prev = cell
	}
	return dst
}

func (s *Set) appendDense(dst []byte) []byte {
	coder := huff0.Scratch{Reuse: huff0.ReusePolicyNone}
	if out, _, err := huff0.Compress1X(s.regs, &coder); err == nil && len(out) < packedBytes {
		return append(append(dst, formHuffman), out...)
	}
	return s.appendPacked(dst) // it makes no code for registers that are all equal
}

func (s *Set) appendPacked(dst []byte) []byte {
	dst = slices.Grow(append(dst, formPacked), packedBytes)
	for i := 0; i < registers; i += 4 {
		r := s.regs[i : i+4]
		v := uint32(r[0]) | uint32(r[1])<<6 | uint32(r[2])<<12 | uint32(r[3])<<18
		dst = append(dst, byte(v), byte(v>>8), byte(v>>16))
	}
	return dst
}

// Decode replaces the content by that of src. base does not matter.
func (s *Set) Decode(src []byte, _ metric.UnixSec) error {
	s.Reset()
	if len(src) == 0 {
		return nil
	}
	r := reader{src: src, kind: "set"}
	switch form := r.byte(); form {
	case formSparse:
		s.decodeSparse(&r)
	case formPacked:
		s.decodePacked(&r)
	case formHuffman:
		s.decodeHuffman(&r)
	default:
		r.fail(0, fmt.Sprintf("unknown form 0x%02x", form))
	}
	if err := r.end(); err != nil {
		s.Reset()
		return err
	}
	return nil
}

func (s *Set) decodeSparse(r *reader) {
	begin := r.at
	n := r.uvarint()
	if n == 0 || n > maxCodes || n > uint64(r.left()) {
		r.fail(begin, "a number of cells that the bytes cannot hold, or a set may")
		return
	}
	s.codes = slices.Grow(s.codes, int(n))
	cell := uint64(0)
	for i := range n {
		begin = r.at
		gap := r.uvarint()
		if gap == 0 && i > 0 {
			r.fail(begin, "cells out of order")
		}
		if gap >= cells-cell {
			r.fail(begin, "a cell beyond the last")
		}
		cell += gap
		code := uint32(cell << rankBits)
		if cell&(1<<restBits-1) == 0 {
			begin = r.at
			rank := r.byte()
			if rank <= restBits || rank > maxRank {
				r.fail(begin, "a rank that no member has")
			}
			code |= uint32(rank)
		}
		if r.err != nil {
			return
		}
		s.codes = append(s.codes, code)
	}
}

func (s *Set) decodePacked(r *reader) {
	if r.left() != packedBytes {
		r.fail(r.at, fmt.Sprintf("%d bytes of registers where %d belong", r.left(), packedBytes))
		return
	}
	s.densify()
	for i := 0; i < registers; i += 4 {
		b := r.src[r.at : r.at+3]
		v := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		for j := range 4 {
			s.regs[i+j] = byte(v >> (rankBits * j) & (1<<rankBits - 1))
		}
		if s.checkRanks(r, i, i+4); r.err != nil {
			return
		}
		r.at += 3
	}
}

func (s *Set) decodeHuffman(r *reader) {
	begin := r.at
	coder, rest, err := huff0.ReadTable(r.src[r.at:], nil)
	if err != nil {
		r.fail(begin, fmt.Sprintf("a bad code table (%s)", err))
		return
	}
	s.densify()
	out, err := coder.Decoder().Decompress1X(s.regs[:0:registers], rest)
	if err != nil || len(out) != registers {
		r.fail(len(r.src)-len(rest), "codes that are not those of all registers")
		return
	}
	copy(s.regs, out)
	r.at = len(r.src)
	s.checkRanks(r, 0, registers)
}

func (s *Set) checkRanks(r *reader, from, to int) {
	for _, rank := range s.regs[from:to] {
		if rank > maxRank {
			r.fail(r.at, "a rank that no member has")
			return
		}
	}
}

// Reset empties the set and keeps its memory.
func (s *Set) Reset() { s.codes, s.regs = s.codes[:0], s.regs[:0] }

// Size returns the bytes of memory that the set takes.
func (s *Set) Size() int {
	return int(unsafe.Sizeof(*s)) + cap(s.codes)*4 + cap(s.regs)
}

// Estimate returns how many different members there are: a whole number, with a
// standard error of 0.8% beyond maxCodes, and nearly exact below.
func (s *Set) Estimate() float64 {
	if len(s.regs) > 0 {
		return math.Round(estimateDense(s.regs))
	}
	// Linear counting: each cell without a member says that there are few.
	return math.Round(-cells * math.Log1p(-float64(len(s.codes))/cells))
}

// estimateDense is algorithm 6 of Ertl: New cardinality estimation algorithms for
// HyperLogLog sketches, 2017. It needs no table and has no range where it is biased.
func estimateDense(regs []byte) float64 {
	var ranks [maxRank + 1]float64
	for _, r := range regs {
		ranks[r]++
	}
	const m = registers
	z := m * tau(1-ranks[maxRank]/m)
	for k := maxRank - 1; k >= 1; k-- {
		z = (z + ranks[k]) / 2
	}
	z += m * sigma(ranks[0]/m)
	if z < m*m/(2*math.Ln2*math.MaxUint64) {
		return math.MaxUint64 // there are no more hashes
	}
	return m * m / (2 * math.Ln2 * z)
}

// sigma is x + the sum of x^(2^k) * 2^(k-1) over k >= 1, for x in [0, 1].
func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for prev := math.NaN(); z != prev; y *= 2 {
		x *= x
		prev, z = z, z+x*y
	}
	return z
}

// tau is (1 - x - the sum of (1 - x^(2^-k))^2 * 2^-k over k >= 1) / 3, for x in [0, 1].
func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for prev := math.NaN(); z != prev; {
		x = math.Sqrt(x)
		y /= 2
		prev, z = z, z-(1-x)*(1-x)*y
	}
	return z / 3
}
