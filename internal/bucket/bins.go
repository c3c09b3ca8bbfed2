package bucket

import (
	"math"
	"slices"
	"sort"
)

// The bins of a DDSketch (Masson, Rim, Lee: DDSketch, a fast and fully-mergeable
// quantile sketch with relative-error guarantees, VLDB 2019). A value v > 0 is in
// the bin with index ceil(ln v / ln gamma), and each value of a bin is within the
// accuracy of 2 gamma^index / (gamma + 1).
//
// All bins of a sketch are in one list, by their keys in the order of the values:
//
//	key < 0    -(index of |v| + keyOffset)    negative values
//	key = 0                                   values that are 0, or too small for a bin
//	key > 0    index of v + keyOffset         positive values
const (
	accuracy = 0.01
	gamma    = (1 + accuracy) / (1 - accuracy)
	lnGamma  = 0.020000666706669524 // of gamma

	// keyOffset makes all keys of positive values positive: the smallest normal
	// float64 has the index -35,419, and the largest 35,488.
	keyOffset = 36_000
	minKey    = keyOffset - 35_420
	maxKey    = keyOffset + 35_490

	// smallest is the smallest normal float64. Below, the logarithm gets imprecise.
	smallest = 0x1p-1022

	// maxSpan bounds how many keys positive values may lie apart, and negative
	// ones: gamma^4096 is 10^35, from picoseconds to the age of the universe and as
	// far again. It bounds the memory of a sketch to 8,193 bins.
	maxSpan = 4096
)

type bin struct {
	key    int32
	weight float64
}

// keyOf returns the key of a finite value.
func keyOf(v float64) int32 {
	switch {
	case v >= smallest:
		return int32(math.Ceil(math.Log(v)*(1/lnGamma))) + keyOffset
	case v <= -smallest:
		return -keyOffset - int32(math.Ceil(math.Log(-v)*(1/lnGamma)))
	}
	return 0
}

// valueOf returns the value that stands for all of a key. At the ends of float64
// it may be infinite.
func valueOf(key int32) float64 {
	switch {
	case key > 0:
		return 2 / (gamma + 1) * math.Exp(float64(key-keyOffset)*lnGamma)
	case key < 0:
		return -2 / (gamma + 1) * math.Exp(float64(-key-keyOffset)*lnGamma)
	}
	return 0
}

// bins are sorted by key, each key once. Positive keys further than maxSpan below
// the largest are folded into the lowest that is kept, and so are negative ones
// above the most negative. What is folded once would be folded at any later time
// too, so that bins depend on the observations only, and not on their order.
type bins []bin

// search returns the place of the first bin whose key is not below key.
func (b bins) search(key int32) int {
	return sort.Search(len(b), func(i int) bool { return b[i].key >= key })
}

// find returns the place of the key, or the one where it belongs. The keys are
// whole numbers, so that a key lies at most as many places from either end as
// keys; where all values between have bins, that leaves one place.
func (b bins) find(key int32) (int, bool) {
	n := len(b)
	if n == 0 || key < b[0].key {
		return 0, false
	}
	if key > b[n-1].key {
		return n, false
	}
	lo, hi := max(0, n-1-int(b[n-1].key-key)), min(n-1, int(key-b[0].key))
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); b[mid].key < key {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, b[lo].key == key
}

// add adds weight to the bin of key, folded if need be, and returns the place of
// that bin.
func (b *bins) add(key int32, weight float64) int {
	if n := len(*b); n > 0 {
		if top := (*b)[n-1].key; key > 0 && key <= top-maxSpan {
			key = top - maxSpan + 1
		} else if low := (*b)[0].key; key < 0 && key >= low+maxSpan {
			key = low + maxSpan - 1
		}
	}
	i, found := b.find(key)
	if found {
		(*b)[i].weight += weight
		return i
	}
	n := len(*b)
	*b = slices.Insert(*b, i, bin{key, weight})
	if i == n && n > 0 || i == 0 {
		b.fold()
		i, _ = b.find(key)
	}
	return i
}

// fold brings the bins back within maxSpan, and reports whether they were not.
func (b *bins) fold() (folded bool) {
	s := *b
	if len(s) == 0 {
		return false
	}
	if floor := s[len(s)-1].key - maxSpan + 1; floor > 1 {
		if i, j := s.search(1), s.search(floor); j > i {
			w := weightOf(s[i:j])
			if s[j].key == floor {
				s[j].weight = plus(s[j].weight, w)
			} else {
				j--
				s[j] = bin{floor, w}
			}
			s, folded = slices.Delete(s, i, j), true
		}
	}
	if ceil := s[0].key + maxSpan - 1; ceil < -1 {
		if i, j := s.search(ceil+1), s.search(0); j > i {
			w := weightOf(s[i:j])
			if s[i-1].key == ceil {
				s[i-1].weight = plus(s[i-1].weight, w)
			} else {
				s[i] = bin{ceil, w}
				i++
			}
			s, folded = slices.Delete(s, i, j), true
		}
	}
	*b = s
	return folded
}

// merge adds the bins of another sketch, in one pass over both: it moves its own
// to the end of the memory, and reads from there while it writes from the begin. A sketch may be merged into
// itself: then both are read in step, each bin before it is written.
func (b *bins) merge(o bins) {
	n, m := len(*b), len(o)
	s := slices.Grow(*b, m)[:n+m]
	own := s[m:]
	copy(own, s[:n])
	w := 0
	for len(own) > 0 && len(o) > 0 {
		switch x, y := own[0], o[0]; {
		case x.key < y.key:
			s[w], own = x, own[1:]
		case x.key > y.key:
			s[w], o = y, o[1:]
		default:
			s[w] = bin{x.key, plus(x.weight, y.weight)}
			own, o = own[1:], o[1:]
		}
		w++
	}
	w += copy(s[w:], own)
	w += copy(s[w:], o)
	*b = s[:w]
	b.fold()
}

func weightOf(s bins) float64 {
	sum := 0.0
	for _, x := range s {
		sum = plus(sum, x.weight)
	}
	return sum
}
