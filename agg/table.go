package agg

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// table maps raw keys (name, rest) to aliases. It is an open-addressing index
// over entries whose key bytes lie in fixed chunks, so that growing copies the
// index and the entries but never the keys.
//
//	index  []uint64   0, or  entry number + 1 (32 bits) | low half of the hash (32 bits)
//	alias  {key, nameLen, restLen, slot, how}
//	keys   chunks of 1 MiB: name rest name rest ...
type table struct {
	secret  [3]uint64
	index   []uint64
	mask    uint32
	aliases []alias
	keys    [][]byte // the last one is being filled
}

type alias struct {
	key     uint32 // chunk number and offset in it, in units of keyAlign
	nameLen uint16
	restLen uint16
	slot    uint32
	how     how
}

const (
	keyChunk   = 1 << 20 // 1 MiB: a chunk is allocated in well under a millisecond
	keyAlign   = 4       // 2^32 units of 4 bytes: 16 GiB of keys
	firstIndex = 1 << 12 // cells: 32 KiB, for 2,048 keys before it grows
)

func newTable(secret [3]uint64) table {
	return table{secret: secret, index: make([]uint64, firstIndex), mask: firstIndex - 1}
}

// hash mixes both parts of a key, 16 bytes a step, by the folded 64 x 64
// multiplication that wyhash and Go's own map hash are built on. All constants
// are secret, so that a sender can neither aim at one cell nor choose a factor
// that makes the product 0.
func (t *table) hash(name, rest []byte) uint64 {
	h := t.secret[0] ^ uint64(len(name))<<32 ^ uint64(len(rest))
	h = hashBytes(h, name, t.secret[1])
	if n := len(rest); n > 0 && n < 4 {
		// A type without fields: what it is mixed into is mixed already.
		return h ^ few(rest)*(t.secret[2]|1)
	}
	return hashBytes(h, rest, t.secret[2])
}

func hashBytes(h uint64, b []byte, k uint64) uint64 {
	for len(b) > 16 {
		hi, lo := bits.Mul64(binary.LittleEndian.Uint64(b)^k, binary.LittleEndian.Uint64(b[8:16])^h)
		h = hi ^ lo
		b = b[16:]
	}
	var x, y uint64
	switch n := len(b); {
	case n >= 8:
		x, y = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		x, y = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		x = few(b)
	}
	hi, lo := bits.Mul64(x^k, y^h)
	return hi ^ lo
}

// few returns b, of 1 to 3 bytes, as a number.
func few(b []byte) uint64 {
	return uint64(b[0]) | uint64(b[len(b)>>1])<<8 | uint64(b[len(b)-1])<<16
}

// probe returns the alias at the first cell whose half hash agrees, from cell
// pos on, and the cell after it. A missing key ends at an empty cell: found is
// false.
func (t *table) probe(h uint64, pos uint32) (entry, next uint32, found bool) {
	low := uint32(h)
	for {
		pos &= t.mask
		c := t.index[pos]
		if c == 0 {
			return 0, pos, false
		}
		pos++
		if uint32(c) == low {
			return uint32(c>>32) - 1, pos, true
		}
	}
}

func (t *table) equal(entry uint32, name, rest []byte) bool {
	a := &t.aliases[entry]
	if int(a.nameLen) != len(name) || int(a.restLen) != len(rest) {
		return false
	}
	off := a.key % (keyChunk / keyAlign) * keyAlign
	key := t.keys[a.key/(keyChunk/keyAlign)][off:]
	if n := len(name); len(rest) == 1 { // most often, and not worth a call
		return key[n] == rest[0] && bytes.Equal(key[:n], name)
	}
	return bytes.Equal(key[:len(name)], name) && bytes.Equal(key[len(name):len(name)+len(rest)], rest)
}

// find returns the alias of a key.
func (t *table) find(h uint64, name, rest []byte) (entry uint32, found bool) {
	pos := uint32(h)
	for {
		if entry, pos, found = t.probe(h, pos); !found || t.equal(entry, name, rest) {
			return entry, found
		}
	}
}

// insert adds a key that is not in the table; it copies name and rest.
func (t *table) insert(h uint64, name, rest []byte, slot uint32, as how) {
	if len(t.aliases)*2 >= len(t.index) {
		t.grow()
	}
	n := len(name) + len(rest)
	last := len(t.keys) - 1
	if last < 0 || len(t.keys[last])+n > keyChunk {
		t.keys = append(t.keys, make([]byte, 0, keyChunk))
		last++
	}
	c := t.keys[last]
	key := uint32(last)*(keyChunk/keyAlign) + uint32(len(c)/keyAlign)
	c = append(append(c, name...), rest...)
	for len(c)%keyAlign != 0 && len(c) < keyChunk {
		c = append(c, 0)
	}
	t.keys[last] = c
	t.aliases = append(t.aliases, alias{key: key, nameLen: uint16(len(name)), restLen: uint16(len(rest)), slot: slot, how: as})
	t.place(uint64(len(t.aliases))<<32 | uint64(uint32(h)))
}

func (t *table) place(cell uint64) {
	for pos := uint32(cell); ; pos++ {
		if c := &t.index[pos&t.mask]; *c == 0 {
			*c = cell
			return
		}
	}
}

func (t *table) grow() {
	old := t.index
	t.index = make([]uint64, 2*len(old))
	t.mask = uint32(len(t.index) - 1)
	for _, c := range old {
		if c != 0 {
			t.place(c)
		}
	}
}
