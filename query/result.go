package query

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// table is the groups of an operand, or of an expression, before they are cut.
type table struct {
	rows  []row
	total float64 // over all groups; NaN: there is none
	// zero is the steps in which a group without an event has 0.
	zero [2]int
}

type row struct {
	tags   []GroupTag
	other  bool
	values []float64
	total  float64
}

// table reads the function out of a frame's groups.
func (o *operand) table(r *Request, f *Frame, res *Result) *table {
	c := newCalculation(o, r, f, res)
	t := &table{zero: c.zero}
	whole := make([]float64, len(f.Groups))
	for i, g := range f.Groups {
		whole[i] = c.total(&g.column, true)
	}
	order := make([]int, len(f.Groups))
	for i := range order {
		order[i] = i
	}
	tags := func(i int) []GroupTag { return f.Groups[i].allTags() }
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(compareTotals(whole[a], whole[b], r.Bottom > 0), compareTags(tags(a), tags(b)))
	})
	keep := len(order)
	if n := r.Top + r.Bottom; n > 0 {
		keep = min(n, keep)
	}
	for _, i := range order[:keep] {
		t.rows = append(t.rows, row{tags: tags(i), values: c.values(&f.Groups[i].column), total: whole[i]})
	}
	if keep < len(order) {
		var rest column
		for _, i := range order[keep:] {
			rest.fold(&f.Groups[i].column, f.Kind)
		}
		t.rows = append(t.rows, row{other: true, values: c.values(&rest), total: c.total(&rest, false)})
	}
	if f.Kind == metric.Counter {
		for _, i := range order {
			t.total += whole[i] // in one order, so that the same data gives the same bits
		}
		return t
	}
	t.total = c.grandTotal()
	return t
}

// allTags is the group's tags, with the metric's name where it tells groups apart.
func (g *Group) allTags() []GroupTag {
	if g.Metric == "" {
		return g.Tags
	}
	tags := []GroupTag{{nameKey, []string{g.Metric}}}
	for _, t := range g.Tags {
		if t.Key != nameKey { // some sender's own
			tags = append(tags, t)
		}
	}
	return tags
}

// fold adds another column of a kind to c, and leaves the other's memory alone.
func (c *column) fold(other *column, k metric.Kind) {
	if c.empty() {
		*c = column{sums: slices.Clone(other.sums)}
		if other.buckets != nil {
			c.buckets = make([]bucket.Bucket, len(other.buckets))
		}
	} else if other.sums != nil {
		c.join(other)
	}
	for i, b := range other.buckets {
		if b == nil {
			continue
		}
		if c.buckets[i] == nil {
			c.buckets[i] = bucket.New(k)
		}
		c.buckets[i].Merge(b)
	}
}

// calculation reads numbers out of columns.
type calculation struct {
	fn         Fn
	kind       metric.Kind
	grid       Grid
	cumulative bool
	read       func(b bucket.Bucket, step float64) float64 // of kinds that are no counters
	readTotal  func(b bucket.Bucket, step float64) float64
	all        bucket.Bucket // everything; nil: nothing
	sealed     int           // steps that end at the watermark or before
	// zero is the steps [from, to) in which no event means 0.
	zero [2]int
}

func newCalculation(o *operand, r *Request, f *Frame, res *Result) *calculation {
	c := &calculation{fn: o.Fn, kind: f.Kind, grid: f.Grid, cumulative: r.Cumulative}
	c.sealed = f.Grid.Ended(res.SealedUntil) // the grid is shifted, as what is read
	if r.Zero {
		c.zero = [2]int{f.Grid.Until(o.since), c.sealed}
	}
	if f.Kind != metric.Counter {
		c.read = o.Fn.reader(f.Kind)
		whole := o.Fn
		if whole == Rate {
			whole = Count
		}
		c.readTotal = whole.reader(f.Kind)
	}
	return c
}

// total reads the function out of a whole column, which counts for the grand total if grand
// is set. The total of buckets is read from all of them merged: the p99 of an hour is that of
// the hour's observations, and no mean of the minutes'.
func (c *calculation) total(col *column, grand bool) float64 {
	if c.kind == metric.Counter {
		total := 0.0
		for _, v := range col.sums {
			if !math.IsNaN(v) {
				total += v
			}
		}
		return total
	}
	sum := bucket.New(c.kind)
	for _, b := range col.buckets {
		if b != nil {
			sum.Merge(b)
		}
	}
	if grand {
		if c.all == nil {
			c.all = bucket.New(c.kind)
		}
		c.all.Merge(sum)
	}
	return c.readTotal(sum, 1)
}

// values reads the function out of each step.
func (c *calculation) values(col *column) []float64 {
	var out []float64
	switch {
	case c.kind != metric.Counter:
		out = c.bucketValues(col)
	case c.cumulative:
		out = slices.Clone(col.sums)
		sum, some := 0.0, false
		for i, v := range out {
			if !math.IsNaN(v) {
				sum, some = sum+v, true
			}
			if some && (i < c.sealed || !math.IsNaN(v)) {
				out[i] = sum
			}
		}
	case c.fn == Rate:
		out = make([]float64, len(col.sums))
		for i, v := range col.sums {
			out[i] = v / float64(c.grid.Width(i))
		}
	default:
		out = slices.Clone(col.sums)
	}
	for i := c.zero[0]; i < c.zero[1]; i++ {
		if math.IsNaN(out[i]) {
			out[i] = 0
		}
	}
	return out
}

func (c *calculation) bucketValues(col *column) []float64 {
	out := nan(len(col.buckets))
	var sum bucket.Bucket
	for i, b := range col.buckets {
		if c.cumulative {
			if b != nil {
				if sum == nil {
					sum = bucket.New(c.kind)
				}
				sum.Merge(b)
			} else if i >= c.sealed {
				continue
			}
			b = sum
		}
		if b != nil {
			out[i] = c.read(b, float64(c.grid.Width(i)))
		}
	}
	return out
}

func (c *calculation) grandTotal() float64 {
	switch whole := c.fn; {
	case c.all != nil:
		return c.readTotal(c.all, 1)
	case whole == Count || whole == Rate || whole == Sum || whole == Uniques:
		return 0
	}
	return math.NaN() // no reading has no average
}

// into puts the rows of a table into the answer.
func (t *table) into(r *Request, res *Result) {
	res.Total = t.total
	for _, w := range t.rows {
		if len(res.Series) == r.Limit && !w.other {
			res.Truncated = true
			continue
		}
		s := Series{Tags: w.tags, Other: w.other, Values: w.values, Total: w.total, Min: math.NaN(), Max: math.NaN(), Last: math.NaN()}
		low, high, last := math.Inf(1), math.Inf(-1), math.NaN()
		for _, v := range s.Values {
			if v < low {
				low = v
			}
			if v > high {
				high = v
			}
			if v == v { // a number
				last = v
			}
		}
		if last == last {
			s.Min, s.Max, s.Last = low, high, last
		}
		res.Series = append(res.Series, s)
	}
}

// combine makes the table of an expression. Groups of the operands with the same tags belong
// together, and an operand with no tags at all to each. A letter without the group, or
// without a value in a step, has none there.
func combine(ctx context.Context, r *Request, letters []byte, tables map[byte]*table) (*table, error) {
	all, points := match(r, letters, tables)
	out := &table{total: r.Expr.Value(func(l byte) float64 {
		if t := tables[l]; len(t.rows) > 0 {
			return t.total
		}
		return tables[l].noTotal()
	})}
	for i := range all {
		all[i].total = r.Expr.Value(func(l byte) float64 {
			if w := all[i].of(l); w != nil {
				return w.total
			}
			return tables[l].noTotal()
		})
	}
	slices.SortFunc(all, func(a, b combined) int {
		return cmp.Or(compareTotals(a.total, b.total, false), compareTags(a.tags, b.tags))
	})
	for i, w := range all {
		if i < r.Limit { // the others are not shown
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			w.values = make([]float64, points)
			for i := range w.values {
				w.values[i] = r.Expr.Value(func(l byte) float64 {
					if w := w.of(l); w != nil {
						return w.values[i]
					}
					return tables[l].none(i)
				})
			}
		}
		out.rows = append(out.rows, w.row)
	}
	return out, nil
}

// combined is a group of an expression; of returns its row of an operand, or nil.
type combined struct {
	row
	of func(l byte) *row
}

// match finds the rows that belong together, which have so many points.
func match(r *Request, letters []byte, tables map[byte]*table) (all []combined, points int) {
	type group struct {
		tags []GroupTag
		of   map[byte]*row
	}
	groups := make(map[string]*group)
	whole := make(map[byte]*row) // of operands that are not grouped
	grouped := false
	for _, l := range letters {
		if o := r.Operands[l]; o.Group.Mode == ByKeys && len(o.Group.Keys) == 0 && !o.Group.Name {
			if len(tables[l].rows) > 0 {
				whole[l] = &tables[l].rows[0]
				points = len(whole[l].values)
			}
			continue
		}
		grouped = true
		for i := range tables[l].rows {
			w := &tables[l].rows[i]
			key := tagKey(w.tags)
			if groups[key] == nil {
				groups[key] = &group{tags: w.tags, of: make(map[byte]*row)}
			}
			groups[key].of[l] = w
			points = len(w.values)
		}
	}
	if !grouped && len(whole) > 0 {
		groups[""] = &group{}
	}
	for _, g := range groups {
		all = append(all, combined{row{tags: g.tags}, func(l byte) *row {
			if w := whole[l]; w != nil {
				return w
			}
			return g.of[l]
		}})
	}
	return all, points
}

// noTotal is the total of a group that is not in the table.
func (t *table) noTotal() float64 { return t.none(t.zero[0]) }

// none is what a group that is not in the table has in a step.
func (t *table) none(step int) float64 {
	if step >= t.zero[0] && step < t.zero[1] {
		return 0
	}
	return math.NaN()
}

// tagKey tells lists of tags apart.
func tagKey(tags []GroupTag) string {
	var all []metric.Tag
	for _, t := range tags {
		for _, v := range t.Values {
			all = append(all, metric.Tag{Key: t.Key, Value: v})
		}
	}
	return string(metric.NewTagset(all))
}

// compareTotals orders the largest first, or the smallest, and NaN, which is no total, last.
func compareTotals(a, b float64, smallest bool) int {
	switch {
	case math.IsNaN(a) || math.IsNaN(b) || !smallest:
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

func compareTags(a, b []GroupTag) int {
	return slices.CompareFunc(a, b, func(x, y GroupTag) int {
		return cmp.Or(strings.Compare(x.Key, y.Key), slices.Compare(x.Values, y.Values))
	})
}
