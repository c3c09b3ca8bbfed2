package chunk

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Damage is what a chunk of format 0x0f holds:
//
//	0f
//	uvarint  operands that are damaged, at least 1
//	uvarint  how many of them are kept, the shortest: their number and their bytes are
//	         at most 64 Ki in all
//	for each of these, by length, then by bytes:
//	uvarint  length
//	bytes    as they were
//	bytes    the chunk without them: any other form, or nothing
//
// What is kept depends on the operands only, not on how they met.
type Damage struct {
	Operands uint64   // that are damaged
	Kept     [][]byte // of them
	Good     []byte   // the chunk without them; empty: nothing is good

	size int // of what is kept: bytes, and one for each
}

// maxKept bounds the bytes of damaged operands in one chunk: enough to see what
// happened, and little in every merge.
const maxKept = 64 << 10

// DamageOf returns the damage of a chunk, into whose bytes it points; none if it is whole.
func DamageOf(b []byte) (Damage, error) {
	if len(b) == 0 || b[0] != isolated {
		return Damage{Good: b}, nil
	}
	return readDamage(b)
}

func readDamage(b []byte) (Damage, error) {
	r := reader{src: b, at: 1}
	var d Damage
	if d.Operands = r.uvarint(); d.Operands == 0 {
		r.fail(1, "damage of no operand")
	}
	begin := r.at
	n := r.uvarint()
	if n > d.Operands || n > uint64(r.left()) || n > maxKept {
		r.fail(begin, "a number of operands that the bytes cannot hold")
		n = 0
	}
	for range n {
		begin = r.at
		size := r.uvarint()
		switch {
		case size > uint64(r.left()):
			r.fail(begin, "a length beyond the end")
		case uint64(d.size)+size+1 > maxKept:
			r.fail(begin, "more kept than ever is")
		}
		if r.err != nil {
			break
		}
		d.Kept = append(d.Kept, r.bytes(int(size)))
		d.size += int(size) + 1
	}
	if r.err == nil && r.left() > 0 && r.src[r.at] == isolated {
		r.fail(r.at, "damage within damage")
	}
	if r.err != nil {
		return Damage{}, fmt.Errorf("damaged chunk: %w", r.err)
	}
	d.Good = b[r.at:]
	return d, nil
}

// keep adds an operand, and lets go of the longest beyond maxKept.
func (d *Damage) keep(b []byte) {
	i, _ := slices.BinarySearchFunc(d.Kept, b, byLength)
	if i == len(d.Kept) && d.size+len(b)+1 > maxKept {
		return
	}
	d.Kept = slices.Insert(d.Kept, i, bytes.Clone(b))
	d.size += len(b) + 1
	d.cut()
}

// keepAll is keep for what another one has kept, which may be tens of thousands.
func (d *Damage) keepAll(list [][]byte) {
	for _, b := range list {
		d.Kept = append(d.Kept, bytes.Clone(b))
		d.size += len(b) + 1
	}
	slices.SortFunc(d.Kept, byLength)
	d.cut()
}

func (d *Damage) cut() {
	for d.size > maxKept {
		last := len(d.Kept) - 1
		d.size -= len(d.Kept[last]) + 1
		d.Kept = d.Kept[:last]
	}
}

func byLength(x, y []byte) int {
	return cmp.Or(cmp.Compare(len(x), len(y)), bytes.Compare(x, y))
}

// appendTo appends the frame; the good chunk goes behind it.
func (d *Damage) appendTo(dst []byte) []byte {
	dst = append(dst, isolated)
	dst = binary.AppendUvarint(dst, d.Operands)
	dst = binary.AppendUvarint(dst, uint64(len(d.Kept)))
	for _, k := range d.Kept {
		dst = binary.AppendUvarint(dst, uint64(len(k)))
		dst = append(dst, k...)
	}
	return dst
}
