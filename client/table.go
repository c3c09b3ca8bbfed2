package client

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"unsafe"
)

// table finds counters by name and tags as a caller writes them. It is read without a
// lock; whoever adds to it holds Client.mu. Tags in another order are another alias of
// the same counter.
type table struct {
	slots []atomic.Pointer[alias] // a power of two, half of them empty
	used  int
}

type alias struct {
	hash    uint64
	counter *Counter
	name    string
	tags    []Pair
}

func newTable(size int) *table { return &table{slots: make([]atomic.Pointer[alias], size)} }

func (t *table) find(hash uint64, name string, tags []Pair) *Counter {
	mask := uint64(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		a := t.slots[i].Load()
		if a == nil {
			return nil
		}
		if a.hash == hash && equal(a.name, name) && len(a.tags) == len(tags) && same(a.tags, tags) {
			return a.counter
		}
	}
}

func same(a, b []Pair) bool {
	b = b[:len(a)]
	for i := range a {
		if !equal(a[i].key, b[i].key) || !equal(a[i].value, b[i].value) {
			return false
		}
	}
	return true
}

// equal is s == t without a call into the runtime for strings as long as tags usually are:
// seven such calls would be a fifth of Client.Count.
func equal(s, t string) bool {
	n := len(s)
	if n != len(t) {
		return false
	}
	if n < 4 || n > 16 {
		return s == t
	}
	a, b := unsafe.Slice(unsafe.StringData(s), n), unsafe.Slice(unsafe.StringData(t), n)
	if n >= 8 {
		return binary.LittleEndian.Uint64(a) == binary.LittleEndian.Uint64(b) && binary.LittleEndian.Uint64(a[n-8:]) == binary.LittleEndian.Uint64(b[n-8:])
	}
	return binary.LittleEndian.Uint32(a) == binary.LittleEndian.Uint32(b) && binary.LittleEndian.Uint32(a[n-4:]) == binary.LittleEndian.Uint32(b[n-4:])
}

// add returns the table with a in it: t, or a larger one.
func (t *table) add(a *alias) *table {
	if 2*(t.used+1) > len(t.slots) {
		larger := newTable(2 * len(t.slots))
		for i := range t.slots {
			if old := t.slots[i].Load(); old != nil {
				larger.put(old)
			}
		}
		t = larger
	}
	t.put(a)
	return t
}

func (t *table) put(a *alias) {
	mask := uint64(len(t.slots) - 1)
	i := a.hash & mask
	for t.slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	t.slots[i].Store(a)
	t.used++
}

const (
	secret1 = 0xa0761d6478bd642f
	secret2 = 0xe7037ed1a0b428db
)

// hashOf is a hash of a name and tags, seeded so that nobody outside can make many collide.
// It is after wyhash: https://github.com/wangyi-fudan/wyhash
func hashOf(seed uint64, name string, tags []Pair) uint64 {
	h := hashString(seed, name)
	for i := range tags {
		h = hashString(h, tags[i].key)
		h = hashString(h, tags[i].value)
	}
	return h
}

func hashString(h uint64, s string) uint64 {
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	h ^= uint64(len(b)) * secret2
	for len(b) > 16 {
		h = mix(binary.LittleEndian.Uint64(b)^secret1, binary.LittleEndian.Uint64(b[8:])^h)
		b = b[16:]
	}
	var lo, hi uint64
	switch n := len(b); {
	case n >= 8:
		lo, hi = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[n-8:])
	case n >= 4:
		lo, hi = uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[n-4:]))
	case n > 0:
		lo = uint64(b[0])<<16 | uint64(b[n>>1])<<8 | uint64(b[n-1])
	}
	return mix(lo^secret1, hi^h)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
