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
//	uvarint  operands that are damaged
//	uvarint  how many of them are kept, the shortest: at most 64 KiB of bytes in all
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
	d.Operands = r.uvarint()
	begin := r.at
	n := r.uvarint()
	if n > d.Operands || n > uint64(r.left()) {
		r.fail(begin, "a number of operands that the bytes cannot hold")
		n = 0
	}
	for range n {
		begin = r.at
		size := r.uvarint()
		if size > uint64(r.left()) {
			r.fail(begin, "a length beyond the end")
		}
		if r.err != nil {
			break
		}
		d.Kept = append(d.Kept, r.bytes(int(size)))
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
	d.Kept = slices.Insert(d.Kept, i, bytes.Clone(b))
	size := 0
	for i, k := range d.Kept {
		if size += len(k) + 1; size > maxKept {
			d.Kept = d.Kept[:i]
			return
		}
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
