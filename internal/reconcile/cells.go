package reconcile

import (
	"maps"
	"slices"

	"cairn/internal/metric"
)

const (
	// maxBytes bounds the cells that are kept, by what they cost: a million counters'
	// buckets, which is an hour of 290 metrics that count in each second of it. A server on
	// a small host must have as much to spare.
	maxBytes = 64 << 20
	// A counter's cell is an amount and its key, in a map that is half full; any other has
	// its figures beside it.
	counterBytes = 64
	otherBytes   = 256
)

// cells is what the journal adds up to, by metric and second.
type cells struct {
	ids    []metric.ID
	places map[metric.ID]uint32 // in ids and metrics
	list   []*column
	from   metric.UnixSec            // seconds before it are left out
	events map[metric.UnixSec]uint64 // by second
	cost   int
	limit  int
	cut    bool // from was raised, because there was too much
}

// column is the cells of one metric.
type column struct {
	sums   map[metric.UnixSec]amount // of a counter
	others map[metric.UnixSec]*figures
	lost   map[metric.UnixSec]struct{} // seconds of which somebody may have deleted something; nil: none
	order  []metric.UnixSec            // all seconds, ascending; made by sort
}

func newCells(limit int) *cells {
	return &cells{places: make(map[metric.ID]uint32), events: make(map[metric.UnixSec]uint64), limit: limit}
}

// place returns the number of a metric here.
func (c *cells) place(id metric.ID) uint32 {
	i, ok := c.places[id]
	if !ok {
		i = uint32(len(c.ids))
		c.places[id] = i
		c.ids = append(c.ids, id)
		col := &column{}
		if id.Kind == metric.Counter {
			col.sums = make(map[metric.UnixSec]amount)
		} else {
			col.others = make(map[metric.UnixSec]*figures)
		}
		c.list = append(c.list, col)
	}
	return i
}

// sum adds events of a counter.
func (c *cells) sum(place uint32, sec metric.UnixSec, events uint32, v float64) {
	if sec < c.from {
		return
	}
	c.count(sec, events)
	sums := c.list[place].sums
	a, ok := sums[sec]
	a.add(v)
	sums[sec] = a
	if !ok {
		c.grow(counterBytes)
	}
}

// other lets add change the figures of another kind.
func (c *cells) other(place uint32, sec metric.UnixSec, events uint32, add func(*figures)) {
	if sec < c.from {
		return
	}
	c.count(sec, events)
	others := c.list[place].others
	f, more := others[sec], 0
	if f == nil {
		f = &figures{}
		others[sec] = f
		more = otherBytes
	}
	before := f.bytes()
	add(f)
	c.grow(more + f.bytes() - before)
}

// lose says that something of a second may have been deleted.
func (c *cells) lose(place uint32, sec metric.UnixSec) {
	if sec < c.from {
		return
	}
	col := c.list[place]
	if col.lost == nil {
		col.lost = make(map[metric.UnixSec]struct{})
	}
	if _, ok := col.lost[sec]; !ok {
		col.lost[sec] = struct{}{}
		c.grow(counterBytes)
	}
}

func (c *cells) count(sec metric.UnixSec, events uint32) { c.events[sec] += uint64(events) }

// grow makes room where there is too much: the oldest seconds go, until half is left.
func (c *cells) grow(n int) {
	c.cost += n
	if c.cost <= c.limit {
		return
	}
	c.cut = true
	costs := make(map[metric.UnixSec]int)
	for _, col := range c.list {
		for sec := range col.sums {
			costs[sec] += counterBytes
		}
		for sec, f := range col.others {
			costs[sec] += otherBytes + f.bytes()
		}
		for sec := range col.lost {
			costs[sec] += counterBytes
		}
	}
	for _, sec := range slices.Sorted(maps.Keys(costs)) {
		if c.cost <= c.limit/2 {
			break
		}
		c.cost -= costs[sec]
		c.from = sec + 1
	}
	c.drop()
}

// raise leaves out seconds before from.
func (c *cells) raise(from metric.UnixSec) {
	if from > c.from {
		c.from = from
		c.drop()
	}
}

func (c *cells) drop() {
	for _, col := range c.list {
		maps.DeleteFunc(col.sums, func(sec metric.UnixSec, _ amount) bool { return sec < c.from })
		maps.DeleteFunc(col.others, func(sec metric.UnixSec, _ *figures) bool { return sec < c.from })
		maps.DeleteFunc(col.lost, func(sec metric.UnixSec, _ struct{}) bool { return sec < c.from })
	}
	maps.DeleteFunc(c.events, func(sec metric.UnixSec, _ uint64) bool { return sec < c.from })
}

// sort ends the adding.
func (c *cells) sort() {
	for _, col := range c.list {
		col.order = slices.AppendSeq(make([]metric.UnixSec, 0, len(col.sums)+len(col.others)), maps.Keys(col.sums))
		col.order = slices.AppendSeq(col.order, maps.Keys(col.others))
		slices.Sort(col.order)
	}
}

// between returns the seconds of a metric in [from, to).
func (col *column) between(from, to metric.UnixSec) []metric.UnixSec {
	lo, _ := slices.BinarySearch(col.order, from)
	hi, _ := slices.BinarySearch(col.order, to)
	return col.order[lo:max(lo, hi)]
}
