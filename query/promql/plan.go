package promql

import (
	"fmt"
	"slices"

	"cairn/internal/bucket"
	"cairn/internal/metric"
	"cairn/query"
)

// instants are the times at which the engine looks a selector up, in ms: first, and every
// step after it.
type instants struct {
	first, step int64
	n           int
}

func (l instants) at(i int) int64 { return l.first + int64(i)*l.step }

// secs returns the last whole second at or before an instant: no bucket ends in between.
func secs(ms int64) int64 {
	s := ms / 1000
	if ms%1000 < 0 {
		s--
	}
	return s
}

// shape is what a selector yields.
type shape uint8

const (
	// windows yields, at each instant, one value of all buckets in the window before it.
	windows shape = iota
	// samples yields the buckets of the windows one by one, each at its end.
	samples
)

// plan is how a selector is read.
type plan struct {
	shape
	when   instants
	window int64 // seconds: the bucket at an instant t is of (t-window, t]
	// lookback is the window of gauges; 0: there is no other.
	lookback int64
	// finest asks for buckets as small as there are; else they are as large as the windows allow.
	finest bool
	fn     string // of gauges: which reading counts, by the function of PromQL; "" the last
	// perSecond divides by the window as it is read, or by the bucket.
	perSecond bool
	nameless  bool            // the series get no name
	group     *query.Grouping // nil: series by series
	filters   filters
	reads     []*read
	cells     *tally // of the query
}

// read is one Read of a plan: all metrics of one class.
type read struct {
	p        *plan
	class    class
	filters  filters
	name     string     // of all series, where the frame's groups do not tell; "": they do, or there is none
	grid     query.Grid // its steps begin at multiples of cell, but for the phase of the first
	per      int        // cells a window
	tier     query.TierChoice
	prepared *query.Prepared
	// width is how long a window is that whole cells make up, in seconds.
	width int64
}

// add plans the read of some exposures of one class, and reads what is open.
func (p *plan) add(s *session, c class, of []exposure) error {
	r := &read{p: p, class: c}
	ids := make([]metric.ID, len(of))
	for i, e := range of {
		ids[i] = e.id
	}
	f, err := p.filters.of(c.part)
	if err != nil {
		return err
	}
	r.filters = f
	group := query.Grouping{Mode: query.EachTagset, Name: len(ids) > 1}
	if len(ids) == 1 && !p.nameless {
		r.name = of[0].name()
	}
	if p.group != nil {
		group = *p.group
	}
	all := r.pieces(s, ids)
	if all == nil && r.layout(s, ids) {
		all = []*read{r}
	}
	for _, r := range all {
		r.prepared, err = s.rd.Prepare(query.Read{
			IDs: ids, Filters: f.native, Group: group, Tier: r.tier.Tier, Grid: r.grid, Since: r.tier.Since,
		})
		if err != nil {
			return err
		}
		p.reads = append(p.reads, r)
	}
	return nil
}

// layout chooses the cells, which are buckets of one length, and the tier that they are made
// of. ok is false if there is nothing to read.
//
// Windows end at instants, so their bounds lie where a cell of the greatest common length of step and
// window has its bounds, if one begins at the first instant. A tier that divides these is
// as good as any finer one. Where none is left, the windows are widened to whole buckets.
func (r *read) layout(s *session, ids []metric.ID) (ok bool) {
	p := r.p
	first, last := secs(p.when.first), secs(p.when.at(p.when.n-1))
	window := max(1, p.window)
	if r.class.kind == metric.Gauge && p.lookback > 0 {
		window = p.lookback
	}
	asked := window
	cell := window
	if p.when.n > 1 {
		cell = 1
		if p.when.step%1000 == 0 {
			cell = gcd(window, p.when.step/1000)
		}
	}
	r.cut(first, last, window, cell)
	var tier query.TierChoice
	if p.finest {
		tier, ok = s.rd.FinestFor(ids, r.grid.From)
	} else {
		tier, ok = s.rd.TierFor(ids, r.grid)
	}
	if !ok {
		s.warn(fmt.Sprintf("no resolution is kept of all the metrics that one selector is for, such as %q", ids[0].Name))
		return false
	}
	w := tier.Width()
	if p.finest || !tier.Divides {
		first -= mod(first, w)
		last -= mod(last, w)
		r.cut(first, last, (window+w-1)/w*w, w)
	}
	if !tier.Divides {
		s.warnWidened(tier.Tier, asked, r.width)
	} else if p.finest && w > 1 && tier.Tier != s.finestKept(ids) {
		s.warn(fmt.Sprintf("of the range's beginning only %s buckets are left", tier.Tier))
	}
	if r.grid.From.Ceil(w) < tier.Since {
		s.warn(fmt.Sprintf("what is kept begins at %s", tier.Since.Time().Format("2006-01-02T15:04:05Z")))
	}
	// A bucket that has not ended is in no sample.
	if ended := lastOf(int64(r.grid.From), s.now, r.grid.Step); int64(r.grid.To) > ended {
		r.grid.To = metric.UnixSec(ended)
	}
	r.tier = tier
	return r.grid.To > r.grid.From
}

// cut lays the grid out: from the first window's begin, in cells, to the last one's end.
func (r *read) cut(first, last, window, cell int64) {
	r.per, r.width = int(window/cell), window
	r.grid = query.Grid{
		From: metric.UnixSec(first - window), To: metric.UnixSec(first + (last-first)/cell*cell), Step: cell,
	}
}

// lastOf returns the last of from, from + cell, ... that is not after until, or from.
func lastOf(from, until, cell int64) int64 {
	if until <= from {
		return from
	}
	return from + (until-from)/cell*cell
}

// span returns which cells a window has, those of instant i: [lo, hi).
func (r *read) span(i int) (lo, hi int) {
	n := r.grid.Len()
	if r.p.when.n == 1 && r.per == 1 { // the window, or a piece of it
		return 0, n
	}
	from := int64(r.grid.From)
	hi = int((secs(r.p.when.at(i)) - from) / r.grid.Step) // never negative: a window ends after From
	lo = hi - r.per
	return min(max(lo, 0), n), min(max(hi, 0), n)
}

// factor is what histograms are multiplied by.
func (r *read) factor() float64 {
	switch {
	case !r.p.perSecond:
		return 1
	case r.p.shape == samples:
		return 1 / float64(r.grid.Step)
	}
	return 1 / float64(r.width)
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func mod(a, b int64) int64 { return (a%b + b) % b }

// reading returns what is read out of a bucket that is no number. fn is the function of
// PromQL around a gauge's selector.
func reading(c class, fn string) func(bucket.Bucket) float64 {
	switch c {
	case class{metric.Set, whole}:
		return func(b bucket.Bucket) float64 { return b.(*bucket.Set).Estimate() }
	case class{metric.Distribution, count}:
		return func(b bucket.Bucket) float64 { return b.(*bucket.Distribution).Count }
	case class{metric.Distribution, sum}:
		return func(b bucket.Bucket) float64 { return b.(*bucket.Distribution).Sum }
	case class{metric.Gauge, whole}:
		return gaugeReading(fn)
	}
	panic("BUG: buckets of this class are not one number")
}

func gaugeReading(fn string) func(bucket.Bucket) float64 {
	return func(b bucket.Bucket) float64 {
		g := b.(*bucket.Gauge)
		switch fn {
		case "sum_over_time":
			return g.Sum
		case "count_over_time":
			return g.Count
		case "avg_over_time":
			return g.Sum / g.Count
		case "min_over_time":
			return g.Min
		case "max_over_time":
			return g.Max
		}
		return g.Last
	}
}

// byClass sorts exposures into those that are read together.
func byClass(of []exposure) (classes []class, members map[class][]exposure) {
	members = make(map[class][]exposure)
	for _, e := range of {
		c := e.class()
		if members[c] == nil {
			classes = append(classes, c)
		}
		members[c] = append(members[c], e)
	}
	slices.SortFunc(classes, func(a, b class) int {
		return int(a.kind)*8 + int(a.part) - int(b.kind)*8 - int(b.part)
	})
	return classes, members
}
