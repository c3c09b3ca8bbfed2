package tsdb

import (
	"hash/maphash"
)

// dictionary gives each pair of tag key and value a number, and each key. A pair is
// kept once, however many series have it, as its bytes in a Tagset:
//
//	uvarint(len key) key uvarint(len value) value
//
// so that a Tagset is its pairs one behind the other, and no pair is the beginning of
// another. Numbers of pairs and keys that no series has any more are used again.
type dictionary struct {
	seed  maphash.Seed
	text  arena
	dead  int      // bytes of text that no pair has any more
	alive int      // bytes that one has
	at    []uint32 // by pair: its place in text
	keyOf []uint32 // by pair: its key
	uses  []uint32 // by pair: how many series have it; 0: the number is free
	free  []uint32
	cells cells

	keys     []dictKey
	freeKeys []uint32
	keyNo    map[string]uint32
}

type dictKey struct {
	name  string
	pairs int // that have it; 0: the number is free
}

func newDictionary() dictionary {
	return dictionary{seed: maphash.MakeSeed(), keyNo: make(map[string]uint32)}
}

// cutPair cuts the first pair off a Tagset. value is where its value begins in it.
func cutPair(ts string) (pair, key string, value int, rest string) {
	n, at := length(ts)
	key = ts[at : at+n]
	at += n
	n, size := length(ts[at:])
	at += size
	return ts[:at+n], key, at, ts[at+n:]
}

// length reads a length in a Tagset, which was checked when it was made.
func length(s string) (n, size int) {
	for shift := 0; ; shift += 7 {
		c := s[size]
		size++
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			return n, size
		}
	}
}

// hash is seeded, so that no sender can aim at one cell.
func (d *dictionary) hash(pair string) uint64 { return maphash.String(d.seed, pair) }

func (d *dictionary) hashOf(no uint32) uint64 { return maphash.Bytes(d.seed, d.pair(no)) }

// find returns the number of a pair.
func (d *dictionary) find(pair string) (no uint32, ok bool) {
	return d.cells.find(d.hash(pair), func(no uint32) bool {
		b := d.text.from(d.at[no])
		return len(b) >= len(pair) && string(b[:len(pair)]) == pair
	})
}

// pair returns the bytes of a pair.
func (d *dictionary) pair(no uint32) []byte {
	b := d.text.from(d.at[no])
	n, at := lengthOf(b)
	at += n
	n, size := lengthOf(b[at:])
	return b[:at+size+n]
}

func lengthOf(b []byte) (n, size int) {
	if b[0] < 0x80 {
		return int(b[0]), 1
	}
	return length(string(b[:min(len(b), 10)]))
}

// value returns the value of a pair; it is only valid until the index changes.
func (d *dictionary) value(no uint32) []byte {
	b := d.pair(no)
	n, at := lengthOf(b)
	at += n
	_, size := lengthOf(b[at:])
	return b[at+size:]
}

// use returns the number of a pair, for one series more.
func (d *dictionary) use(pair, key string) uint32 {
	no, ok := d.find(pair)
	if ok {
		d.uses[no]++
		return no
	}
	at, ok := d.text.add([]byte(pair))
	if !ok {
		panic("BUG: a batch was let through that the dictionary has no room for")
	}
	d.alive += len(pair)
	k := d.useKey(key)
	if n := len(d.free); n > 0 {
		no, d.free = d.free[n-1], d.free[:n-1]
		d.at[no], d.keyOf[no], d.uses[no] = at, k, 1
	} else {
		no = uint32(len(d.at))
		d.at, d.keyOf, d.uses = append(d.at, at), append(d.keyOf, k), append(d.uses, 1)
	}
	d.cells.put(d.hash(pair), no, d.hashOf)
	return no
}

func (d *dictionary) useKey(name string) uint32 {
	no, ok := d.keyNo[name]
	if ok {
		d.keys[no].pairs++
		return no
	}
	name = string([]byte(name)) // the tagset that it is in is not kept
	if n := len(d.freeKeys); n > 0 {
		no, d.freeKeys = d.freeKeys[n-1], d.freeKeys[:n-1]
		d.keys[no] = dictKey{name, 1}
	} else {
		no = uint32(len(d.keys))
		d.keys = append(d.keys, dictKey{name, 1})
	}
	d.keyNo[name] = no
	return no
}

// leave takes one series off a pair.
func (d *dictionary) leave(no uint32) {
	if d.uses[no]--; d.uses[no] > 0 {
		return
	}
	d.cells.remove(d.hashOf(no), no, d.hashOf)
	size := len(d.pair(no))
	d.dead += size
	d.alive -= size
	d.free = append(d.free, no)
	k := &d.keys[d.keyOf[no]]
	if k.pairs--; k.pairs == 0 {
		delete(d.keyNo, k.name)
		k.name = ""
		d.freeKeys = append(d.freeKeys, d.keyOf[no])
	}
}

// compact gives back what dead pairs take, once that is as much as the others do.
func (d *dictionary) compact() {
	if d.dead < arenaChunk || d.dead < d.alive {
		return
	}
	old := d.text
	d.text, d.dead = arena{}, 0
	for no := range d.at {
		if d.uses[no] == 0 {
			continue
		}
		at := d.at[no]
		n, size := lengthOf(old.from(at))
		n += size
		v, size := lengthOf(old.from(at)[n:])
		d.at[no], _ = d.text.add(old.from(at)[:n+size+v])
	}
}

// maxText is where new series are refused, so that no place in text overflows.
const maxText = 3 << 30

func (d *dictionary) full() bool { return d.alive+d.dead > maxText }
