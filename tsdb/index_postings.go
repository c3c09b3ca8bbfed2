package tsdb

import (
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// maxFew is how many numbers stand in a slice: a bitmap of fewer is larger.
const maxFew = 32

// list is series numbers, ascending.
type list struct {
	few  []uint32
	many *roaring.Bitmap // nil: they are in few
}

func (l *list) add(no uint32) {
	switch {
	case l.many != nil:
		l.many.Add(no)
	case len(l.few) < maxFew:
		at, _ := slices.BinarySearch(l.few, no)
		l.few = slices.Insert(l.few, at, no)
	default:
		l.many = roaring.BitmapOf(l.few...)
		l.many.Add(no)
		l.few = nil
	}
}

func (l *list) remove(no uint32) {
	if l.many == nil {
		if at, ok := slices.BinarySearch(l.few, no); ok {
			l.few = slices.Delete(l.few, at, at+1)
		}
		return
	}
	l.many.Remove(no)
	if l.many.GetCardinality() <= maxFew/2 {
		l.few, l.many = l.many.ToArray(), nil
	}
}

func (l *list) len() int {
	if l.many != nil {
		return int(l.many.GetCardinality())
	}
	return len(l.few)
}

// numbers returns the numbers; the caller must not change them.
func (l *list) numbers() []uint32 {
	if l.many != nil {
		return l.many.ToArray()
	}
	return l.few
}

// postings are the series of one metric that have one tag key, by value. Most values
// are on one series, or on many.
type postings struct {
	of     map[uint32]posting // by pair
	lists  []list
	free   []uint32 // places in lists
	series int      // that have the key
}

// posting is a series number, or with the top bit a place in postings.lists.
type posting uint32

const (
	listed = 1 << 31
	// maxSeries is what is left for series numbers.
	maxSeries = listed - 1
)

func (p *postings) add(pair, no uint32) {
	have, ok := p.of[pair]
	switch {
	case !ok:
		p.of[pair] = posting(no)
	case have&listed != 0:
		p.lists[have&^listed].add(no)
	default:
		two := list{few: []uint32{min(uint32(have), no), max(uint32(have), no)}}
		at := uint32(len(p.lists))
		if n := len(p.free); n > 0 {
			at, p.free = p.free[n-1], p.free[:n-1]
			p.lists[at] = two
		} else {
			p.lists = append(p.lists, two)
		}
		p.of[pair] = posting(at) | listed
	}
}

func (p *postings) remove(pair, no uint32) {
	have := p.of[pair]
	if have&listed == 0 {
		delete(p.of, pair)
		return
	}
	at := uint32(have &^ listed)
	l := &p.lists[at]
	l.remove(no)
	if l.len() == 1 {
		p.of[pair] = posting(l.numbers()[0])
		*l = list{}
		p.free = append(p.free, at)
	}
}

// count returns how many series have a pair.
func (p *postings) count(pair uint32) int {
	have, ok := p.of[pair]
	switch {
	case !ok:
		return 0
	case have&listed != 0:
		return p.lists[have&^listed].len()
	}
	return 1
}

// union collects the series of several pairs.
type union struct {
	few  []uint32
	many *roaring.Bitmap
}

func (u *union) add(p *postings, have posting) {
	if have&listed == 0 {
		u.few = append(u.few, uint32(have))
		return
	}
	l := &p.lists[have&^listed]
	if l.many == nil {
		u.few = append(u.few, l.few...)
		return
	}
	if u.many == nil {
		u.many = roaring.New()
	}
	u.many.Or(l.many)
}

// bitmap returns all; it is the caller's.
func (u *union) bitmap() *roaring.Bitmap {
	if u.many == nil {
		u.many = roaring.New()
	}
	slices.Sort(u.few)
	u.many.AddMany(u.few)
	return u.many
}
