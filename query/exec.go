package query

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Result is the answer to a Request.
type Result struct {
	Metric        string
	Kind          metric.Kind
	Fn            Fn
	From, To      metric.UnixSec // whole steps
	Step          int64
	Tier          metric.Tier
	SealedUntil   metric.UnixSec
	Series        []Series // the largest totals first
	Total         float64  // over all matched series and the whole range, as Series.Total; NaN: there is none
	SeriesMatched int      // series with an event in the range that the filters let pass
	Truncated     bool     // Series is not all groups
	Warnings      []string
}

// Series is one group of the answer. Min, Max and Last are of Values; they are
// NaN if there is no value. Total is what the function reads out of the whole range
// at once; that of rate is the count.
type Series struct {
	Tags                  []GroupTag
	Values                []float64 // one a step; NaN: no event
	Total, Min, Max, Last float64
}

// GroupTag is a tag key that was grouped by, with the values that the series of
// the group have in common; a series may have several values for one key.
type GroupTag struct {
	Key    string
	Values []string
}

// Executor runs requests.
type Executor struct {
	// Acquire returns the current view, or an error once there is none any more.
	Acquire func() (*View, error)
}

// Run answers r. It ends early with ctx's error.
func (x *Executor) Run(ctx context.Context, r Request) (*Result, error) {
	v, err := x.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	run := run{
		r:      r,
		series: make(map[metric.Tagset]*seen), groups: make(map[string]*group),
	}
	warnings, err := run.resolve(v)
	if err == nil {
		err = run.plan(v, &warnings)
	}
	if err != nil {
		return nil, err
	}
	for _, s := range v.Open {
		if err := run.scan(ctx, run.selected(s)); err != nil {
			return nil, err
		}
	}
	stored := run.selected(v.Store) // of the same instant: afterwards series may be deleted
	v.OpenDone()
	if err := run.scan(ctx, stored); err != nil {
		return nil, err
	}
	res := run.result()
	res.SealedUntil = v.SealedUntil
	res.Warnings = append(res.Warnings, warnings...)
	if v.Incomplete != "" {
		res.Warnings = append(res.Warnings, v.Incomplete)
	}
	return res, nil
}

// plan chooses the tier, and with it the range and the step that the answer has.
func (q *run) plan(v *View, warnings *[]string) error {
	held := everything
	if v.Held != nil {
		held = v.Held(q.id)
	}
	p, err := planFor(&q.r, &held)
	if err != nil {
		return err
	}
	q.tier, q.r.From, q.r.To, q.r.Step = p.tier, p.from, p.to, p.step
	q.points = int(int64(p.to-p.from) / p.step)
	// What is older is on its way out, in whichever source it is: it is in no answer.
	q.since = min(max(p.from, held.From(p.tier)), p.to)
	*warnings = append(*warnings, p.warnings...)
	return nil
}

type run struct {
	r       Request
	id      metric.ID
	tier    metric.Tier
	since   metric.UnixSec // buckets before it are not read
	points  int
	columns int  // groups with an event in the range
	bytes   int  // of their buckets, of kinds that are no numbers
	known   bool // some source has a series of the metric, matched or not
	series  map[metric.Tagset]*seen
	groups  map[string]*group
}

// seen is a series that matched, from whichever source.
type seen struct {
	group *group
	event bool // in the range
}

type group struct {
	tags    []GroupTag
	values  []float64       // nil until the first event in the range
	buckets []bucket.Bucket // the same for kinds that are no numbers
	total   float64
}

// maxCells bounds the columns of one query, groups times points: 128 MB.
const maxCells = 16 << 20

func (q *run) column(g *group) ([]float64, error) {
	if g.values == nil {
		q.columns++
		if q.columns*q.points > maxCells {
			return nil, paramErrorf("by", "this query makes more than %d groups of %d points each, which is more than fits in memory: group by fewer tags, filter, or take a longer step", q.columns-1, q.points)
		}
		g.values = make([]float64, q.points)
		for i := range g.values {
			g.values[i] = math.NaN()
		}
	}
	return g.values, nil
}

func (q *run) selected(s Source) Selection {
	q.known = q.known || slices.Contains(s.Kinds(q.r.Metric), q.id.Kind)
	return s.Select(q.id, q.r.Filters)
}

func (q *run) scan(ctx context.Context, sel Selection) error {
	tags := sel.Tags()
	if len(tags) == 0 {
		return nil
	}
	at := make([]*seen, len(tags))
	for i, ts := range tags {
		sn := q.series[ts]
		if sn == nil {
			sn = &seen{group: q.groupOf(ts)}
			q.series[ts] = sn
		}
		at[i] = sn
	}
	if q.id.Kind != metric.Counter {
		return q.scanBuckets(ctx, sel, at)
	}
	from, step := int64(q.r.From), q.r.Step
	return sel.Scan(ctx, q.tier, q.since, q.r.To, func(i int, start metric.UnixSec, width int64, slots []uint32, sums []float64) error {
		if len(slots) == 0 {
			return nil
		}
		at[i].event = true
		values, err := q.column(at[i].group)
		if err != nil {
			return err
		}
		offset := int64(start) - from
		for j, slot := range slots {
			p := (offset + int64(slot)*width) / step
			if math.IsNaN(values[p]) {
				values[p] = sums[j]
			} else {
				values[p] += sums[j]
			}
		}
		return ctx.Err()
	})
}

func (q *run) groupOf(ts metric.Tagset) *group {
	var key []metric.Tag
	for t := range ts.All() {
		if slices.Contains(q.r.By, t.Key) {
			key = append(key, t)
		}
	}
	// The canonical form tells {a: "b,c"} from {a: [b, c]}.
	name := string(metric.NewTagset(key))
	g := q.groups[name]
	if g == nil {
		g = new(group)
		for _, t := range key {
			if n := len(g.tags); n > 0 && g.tags[n-1].Key == t.Key {
				g.tags[n-1].Values = append(g.tags[n-1].Values, t.Value)
				continue
			}
			g.tags = append(g.tags, GroupTag{t.Key, []string{t.Value}})
		}
		q.groups[name] = g
	}
	return g
}

func (q *run) result() *Result {
	res := &Result{
		Metric: q.r.Metric, Kind: q.id.Kind, Fn: q.r.Fn, From: q.r.From, To: q.r.To, Step: q.r.Step, Tier: q.tier,
	}
	for _, sn := range q.series {
		if sn.event {
			res.SeriesMatched++
		}
	}
	if q.id.Kind != metric.Counter {
		res.Total = q.readBuckets()
	}
	var groups []*group
	for _, g := range q.groups {
		if g.values == nil {
			continue
		}
		if q.id.Kind == metric.Counter {
			g.addUp()
		}
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(b.total, a.total), compareTags(a.tags, b.tags))
	})
	if q.id.Kind == metric.Counter {
		for _, g := range groups {
			res.Total += g.total // in one order, so that the same data gives the same bits
		}
	}
	if len(groups) > q.r.Limit {
		groups, res.Truncated = groups[:q.r.Limit], true
	}
	for _, g := range groups {
		res.Series = append(res.Series, g.series(q.r, q.id.Kind))
	}
	if sn := q.series[metric.OverflowTags]; sn != nil && sn.event {
		res.Warnings = append(res.Warnings, fmt.Sprintf("a cardinality limit was reached: new tagsets of %q count in the series %s; totals are exact", q.r.Metric, metric.OverflowTags))
	}
	if !q.known {
		res.Warnings = append(res.Warnings, fmt.Sprintf("no %s named %q is known; it appears with its first event", q.id.Kind, q.r.Metric))
	}
	return res
}

func compareTags(a, b []GroupTag) int {
	return slices.CompareFunc(a, b, func(x, y GroupTag) int {
		return cmp.Or(strings.Compare(x.Key, y.Key), slices.Compare(x.Values, y.Values))
	})
}

// addUp makes the total of a counter.
func (g *group) addUp() {
	for _, v := range g.values {
		if !math.IsNaN(v) {
			g.total += v
		}
	}
}

func (g *group) series(r Request, k metric.Kind) Series {
	s := Series{Tags: g.tags, Values: g.values, Total: g.total, Min: math.NaN(), Max: math.NaN(), Last: math.NaN()}
	for i, v := range s.Values {
		if math.IsNaN(v) {
			continue
		}
		if r.Fn == Rate && k == metric.Counter {
			v /= float64(r.Step)
			s.Values[i] = v
		}
		if math.IsNaN(s.Last) {
			s.Min, s.Max = v, v
		}
		s.Min, s.Max, s.Last = min(s.Min, v), max(s.Max, v), v
	}
	return s
}
