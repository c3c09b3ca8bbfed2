package promql

import (
	"math"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// overWindows returns the sums of the cells in each window; NaN: no event in it. They may be the
// memory of the cells.
func (r *read) overWindows(cells []float64) []float64 {
	n := r.p.when.n
	lo, hi := r.span(0)
	hop, even := r.hop()
	if r.per == 1 && hop == 1 && hi == 1 && len(cells) >= n && !r.p.perSecond {
		return cells[:n]
	}
	out := make([]float64, n)
	sum := r.sums(cells)
	for i := range out {
		if i > 0 {
			if even {
				lo, hi = min(lo+hop, len(cells)), min(hi+hop, len(cells))
			} else {
				lo, hi = r.span(i)
			}
		}
		switch {
		case hi-lo == 1:
			out[i] = cells[lo]
		case lo < hi:
			out[i] = sum(lo, hi)
		default:
			out[i] = math.NaN()
		}
	}
	if r.p.perSecond {
		for i := range out {
			out[i] /= float64(r.width)
		}
	}
	return out
}

// hop returns how many cells lie between the ends of windows that follow one another, if it is
// the same number always.
func (r *read) hop() (cells int, even bool) {
	step := r.p.when.step
	if step%1000 != 0 || step/1000%r.grid.Step != 0 {
		return 0, false
	}
	return int(step / 1000 / r.grid.Step), true
}

// few is how many cells are added one by one.
const few = 4

// sums returns what adds up cells [lo, hi), which are per cells or, at the ends, fewer.
//
// Long windows overlap, so that their sums are made of two parts each, that of the cells before
// a multiple of per, and that of those from it on (van Herk 1992). Nothing is ever subtracted: what is
// whole stays exact, and what is not does not drift.
func (r *read) sums(cells []float64) func(lo, hi int) float64 {
	if r.per <= few || r.p.when.n == 1 {
		return func(lo, hi int) float64 {
			total := cells[lo]
			for _, v := range cells[lo+1 : hi] {
				total = plus(total, v)
			}
			return total
		}
	}
	n := len(cells)
	both := make([]float64, 2*n)
	before, behind := both[:n], both[n:] // from the block's begin to a cell; from a cell to the block's end
	for i, v := range cells {
		before[i] = v
		if i%r.per != 0 {
			before[i] = plus(before[i-1], v)
		}
	}
	for i := n - 1; i >= 0; i-- {
		behind[i] = cells[i]
		if i+1 < n && (i+1)%r.per != 0 {
			behind[i] = plus(cells[i], behind[i+1])
		}
	}
	return func(lo, hi int) float64 {
		if lo/r.per == (hi-1)/r.per { // in one block
			switch {
			case lo%r.per == 0:
				return before[hi-1]
			case hi%r.per == 0 || hi == n:
				return behind[lo]
			}
			total := cells[lo]
			for _, v := range cells[lo+1 : hi] {
				total = plus(total, v)
			}
			return total
		}
		return plus(behind[lo], before[hi-1])
	}
}

// plus adds where NaN is nothing.
func plus(a, b float64) float64 {
	switch {
	case a != a:
		return b
	case b != b:
		return a
	}
	return a + b
}

// bucketWindows calls visit with all buckets of each window merged; nil: none. What visit gets
// must not be changed.
func (r *read) bucketWindows(cells []bucket.Bucket, visit func(i int, b bucket.Bucket) error) error {
	last := r.lastCell(cells)
	for i := range r.p.when.n {
		lo, hi := r.span(i)
		var b bucket.Bucket
		merged := false
		if last != nil {
			if lo < hi && last[hi-1] >= lo {
				b = cells[last[hi-1]]
			}
			lo = hi
		}
		for _, c := range cells[lo:hi] {
			switch {
			case c == nil:
			case b == nil:
				b = c
			default:
				if !merged {
					first := b
					b, merged = bucket.New(c.Kind()), true
					b.Merge(first)
				}
				b.Merge(c)
			}
		}
		if err := visit(i, b); err != nil {
			return err
		}
	}
	return nil
}

// lastCell returns, for each cell, the place of the last one up to it that is not empty, -1: none; or
// nil if windows are more than their last reading.
func (r *read) lastCell(cells []bucket.Bucket) []int {
	if r.class.kind != metric.Gauge || r.p.fn != "" && r.p.fn != "last_over_time" {
		return nil
	}
	out := make([]int, len(cells))
	last := -1
	for i, c := range cells {
		if c != nil {
			last = i
		}
		out[i] = last
	}
	return out
}
