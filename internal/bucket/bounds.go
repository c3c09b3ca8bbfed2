package bucket

import "math"

// Bounds calls visit with each bin, ascending: the bounds between which its values lie, and their
// weight. The bound that is further from 0 is inclusive and the other one exclusive, as far as logarithms
// tell. Neighbours share a bound, to the last bit. Values too small for a bin lie between
// -2^-1022 and 2^-1022.
func (d *Distribution) Bounds(visit func(lower, upper, weight float64)) {
	for _, b := range d.bins {
		lower, upper := boundsOf(b.key)
		visit(lower, upper, b.weight)
	}
}

func boundsOf(key int32) (lower, upper float64) {
	switch {
	case key > 0:
		return power(key - 1), power(key)
	case key < 0:
		return -power(-key), -power(-key - 1)
	}
	return -smallest, smallest
}

// power is gamma^index of a positive value's key.
func power(key int32) float64 { return math.Exp(float64(key-keyOffset) * lnGamma) }
