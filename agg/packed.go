package agg

import (
	"encoding/binary"
	"math"
)

// packed is the partial sums of a second that has ended, in the order of slots: a
// sixth of the memory of a list, and ready to be merged with those of other
// seconds. It is immutable.
//
//	block b holds the slots [b*blockSlots, (b+1)*blockSlots); for each partial in it
//	uvarint   slots skipped in the block << 2 | form
//	uvarint   n, the events
//	form 0    nothing: the sum is n, as that of n increments is
//	form 1    varint: the sum, a whole number within ±2^53
//	form 2    8 bytes: the sum, float64, little endian
type packed struct {
	bytes  []byte
	blocks []uint32 // where each block begins in bytes, and where the last one ends
	events uint64
	units  float64
}

// blockSlots is how many slots one block spans: small enough that a query for one
// series reads little, and that a flush keeps a block of all seconds in cache.
const blockSlots = 1 << 10

const (
	formCount = 0
	formWhole = 1
	formFloat = 2
)

const maxWhole = 1 << 53

// packer packs lists. It is scratch space.
type packer struct {
	order []uint32 // places in the list, block by block
	start []uint32 // by block: where its places begin in order
	bytes []byte
}

// pack returns the partials of l, those of one slot added up.
func (k *packer) pack(l *partials) packed {
	blocks := k.sort(l)
	out := packed{blocks: make([]uint32, blocks+1)}
	k.bytes = k.bytes[:0]
	var rows [blockSlots]partial
	for b := range blocks {
		out.blocks[b] = uint32(len(k.bytes))
		for _, at := range k.order[k.start[b]:k.start[b+1]] {
			p := l.at(int(at))
			r := &rows[p.slot%blockSlots]
			r.n += p.n
			r.sum += p.sum
			out.events += uint64(p.n)
			out.units += p.sum
		}
		skipped := uint64(0)
		for i := range rows {
			if rows[i].n == 0 {
				skipped++
				continue
			}
			k.bytes = appendPartial(k.bytes, skipped, &rows[i])
			rows[i], skipped = partial{}, 0
		}
	}
	out.blocks[blocks] = uint32(len(k.bytes))
	out.bytes = append([]byte(nil), k.bytes...)
	return out
}

// sort puts the places of l into order, by block, and returns how many blocks
// there are.
func (k *packer) sort(l *partials) (blocks int) {
	top := uint32(0)
	for i := range l.n {
		top = max(top, l.at(i).slot)
	}
	blocks = int(top/blockSlots) + 1
	k.start = append(k.start[:0], make([]uint32, blocks+1)...)
	for i := range l.n {
		k.start[l.at(i).slot/blockSlots]++
	}
	sum := uint32(0)
	for b, n := range k.start {
		k.start[b] = sum
		sum += n
	}
	if cap(k.order) < l.n {
		k.order = make([]uint32, l.n)
	}
	k.order = k.order[:l.n]
	for i := range l.n {
		b := l.at(i).slot / blockSlots
		k.order[k.start[b]] = uint32(i)
		k.start[b]++
	}
	// Each start has moved to the next one's place.
	copy(k.start[1:], k.start[:blocks])
	k.start[0] = 0
	return blocks
}

func appendPartial(dst []byte, skipped uint64, p *partial) []byte {
	switch {
	case p.sum == float64(p.n):
		dst = binary.AppendUvarint(dst, skipped<<2|formCount)
		return binary.AppendUvarint(dst, uint64(p.n))
	case p.sum == math.Trunc(p.sum) && math.Abs(p.sum) <= maxWhole:
		dst = binary.AppendUvarint(dst, skipped<<2|formWhole)
		dst = binary.AppendUvarint(dst, uint64(p.n))
		return binary.AppendVarint(dst, int64(p.sum))
	}
	dst = binary.AppendUvarint(dst, skipped<<2|formFloat)
	dst = binary.AppendUvarint(dst, uint64(p.n))
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(p.sum))
}

// block returns the bytes of a block, none if it is beyond the last one.
func (p *packed) block(b int) []byte {
	if b+1 >= len(p.blocks) {
		return nil
	}
	return p.bytes[p.blocks[b]:p.blocks[b+1]]
}

// walkBlock calls visit for each partial in the bytes of block b, by slot.
func walkBlock(bytes []byte, b int, visit func(p partial)) {
	slot := uint32(b * blockSlots)
	for len(bytes) > 0 {
		var p partial
		// Most heads and counts take a byte.
		head := uint64(bytes[0])
		if head < 0x80 {
			bytes = bytes[1:]
		} else {
			var n int
			head, n = binary.Uvarint(bytes)
			bytes = bytes[n:]
		}
		if bytes[0] < 0x80 {
			p.n, bytes = uint32(bytes[0]), bytes[1:]
		} else {
			v, n := binary.Uvarint(bytes)
			p.n, bytes = uint32(v), bytes[n:]
		}
		switch head & 3 {
		case formCount:
			p.sum = float64(p.n)
		case formWhole:
			v, n := binary.Varint(bytes)
			p.sum, bytes = float64(v), bytes[n:]
		default:
			p.sum, bytes = math.Float64frombits(binary.LittleEndian.Uint64(bytes)), bytes[8:]
		}
		p.slot = slot + uint32(head>>2)
		slot = p.slot + 1
		visit(p)
	}
}

// cost is in units of 16 bytes.
func (p *packed) cost() int { return 1 + (len(p.bytes)+4*len(p.blocks))/16 }
