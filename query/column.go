package query

import (
	"math"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// column is what one group has in each step of a grid. Both are nil until its first
// event; a counter has sums, NaN where there was none, and other kinds have buckets.
type column struct {
	sums    []float64
	buckets []bucket.Bucket
}

func (c *column) empty() bool { return c.sums == nil && c.buckets == nil }

// add adds buckets of a tier to the sums. Slot s begins width * s seconds after start;
// slots ascend, and lie in the grid, which the tier divides.
func (c *column) add(g *Grid, start metric.UnixSec, width int64, slots []uint32, sums []float64) {
	if g.bounds == nil {
		base, each := int64(start-g.From)/width, g.Step/width
		if each == 1 {
			addEach(c.sums, base, slots, sums)
			return
		}
	}
	for i := 0; i < len(slots); {
		p := g.Place(start + metric.UnixSec(int64(slots[i])*width))
		end := uint32(int64(g.Start(p+1)-start) / width)
		sum := sums[i]
		for i++; i < len(slots) && slots[i] < end; i++ {
			sum += sums[i]
		}
		addTo(&c.sums[p], sum)
	}
}

// addEach is add where each bucket is a step.
func addEach(into []float64, base int64, slots []uint32, sums []float64) {
	n := len(slots)
	sums = sums[:n]
	first := base + int64(slots[0])
	if int(slots[n-1]-slots[0]) == n-1 { // none is missing
		into = into[first : first+int64(n)]
		for i, v := range sums {
			addTo(&into[i], v)
		}
		return
	}
	for i, slot := range slots {
		addTo(&into[base+int64(slot)], sums[i])
	}
}

func addTo(into *float64, v float64) {
	if math.IsNaN(*into) {
		*into = v
	} else {
		*into += v
	}
}

// join adds another column of the same grid and kind to c, which takes over other's memory
// where it has none. Buckets of other are not changed.
func (c *column) join(other *column) {
	switch {
	case other.empty():
	case c.empty():
		*c = *other
	case c.sums != nil:
		for i, v := range other.sums {
			if !math.IsNaN(v) {
				addTo(&c.sums[i], v)
			}
		}
	default:
		for i, b := range other.buckets {
			switch {
			case b == nil:
			case c.buckets[i] == nil:
				c.buckets[i] = b
			default:
				c.buckets[i].Merge(b)
			}
		}
	}
}
