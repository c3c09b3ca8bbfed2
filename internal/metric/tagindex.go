package metric

import "hash/maphash"

// TagIndex finds the number of a series by its metric and its tagset, in lists
// that its owner keeps: it holds 4 bytes a number and some room, and no keys.
type TagIndex struct {
	seed  maphash.Seed
	cells []uint32 // number + 1; 0: empty
	n     int
}

// Keys returns the metric and the tagset of a number.
type Keys func(number uint32) (metric uint32, tags Tagset)

// NewTagIndex returns an empty index.
func NewTagIndex() *TagIndex {
	return &TagIndex{seed: maphash.MakeSeed(), cells: make([]uint32, 1<<10)}
}

// Find returns the number under which a series was put.
func (x *TagIndex) Find(metric uint32, tags Tagset, keys Keys) (number uint32, ok bool) {
	mask := uint64(len(x.cells) - 1)
	for at := x.hash(metric, tags) & mask; x.cells[at] != 0; at = (at + 1) & mask {
		n := x.cells[at] - 1
		if m, ts := keys(n); m == metric && ts == tags {
			return n, true
		}
	}
	return 0, false
}

// Put adds a number that Find does not find; keys knows it already.
func (x *TagIndex) Put(number uint32, keys Keys) {
	if 4*x.n >= 3*len(x.cells) {
		old := x.cells
		x.cells = make([]uint32, 2*len(old))
		for _, c := range old {
			if c != 0 {
				x.place(c, keys)
			}
		}
	}
	x.place(number+1, keys)
	x.n++
}

func (x *TagIndex) place(c uint32, keys Keys) {
	m, tags := keys(c - 1)
	mask := uint64(len(x.cells) - 1)
	at := x.hash(m, tags) & mask
	for x.cells[at] != 0 {
		at = (at + 1) & mask
	}
	x.cells[at] = c
}

// hash is seeded, so that no sender can aim at one cell.
func (x *TagIndex) hash(metric uint32, tags Tagset) uint64 {
	h := maphash.String(x.seed, string(tags))
	h ^= uint64(metric) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}
