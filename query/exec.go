package query

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cairn/internal/metric"
)

// Executor runs requests.
type Executor struct {
	// Acquire returns the current view, or an error once there is none any more.
	Acquire func() (*View, error)
	Limits  Limits
	// CacheBytes is how much memory results may take that are kept for the next request;
	// 0: none are kept.
	CacheBytes int64

	once sync.Once
	kept *cache
}

// results returns what keeps results, or nil.
func (x *Executor) results() *cache {
	x.once.Do(func() {
		if x.CacheBytes > 0 {
			x.kept = newCache(x.CacheBytes)
		}
	})
	return x.kept
}

// Result is the answer to a Request.
type Result struct {
	Metric        string // of an expression: its text
	Expr          bool
	Kind          metric.Kind // 0 of an expression
	Fn            Fn          // "" of an expression
	Grid                      // of the points
	Tier          metric.Tier // of several, the coarsest
	SealedUntil   metric.UnixSec
	Series        []Series // the largest totals first, or, of Bottom, the smallest
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
	Other                 bool      // all groups that Top or Bottom left over
	Values                []float64 // one a step; NaN: no event
	Total, Min, Max, Last float64
}

// operand is an Operand as it is read.
type operand struct {
	Operand
	ids      []metric.ID
	plan     plan
	since    metric.UnixSec // what is older is in no answer
	prepared *Prepared
}

// Run answers r. It ends early with ctx's error.
func (x *Executor) Run(ctx context.Context, r Request) (*Result, error) {
	for {
		res, err := x.run(ctx, r)
		if err == nil {
			return res, nil
		}
		if err := Settle(ctx, err); err != nil {
			if limit := (*LimitError)(nil); errors.As(err, &limit) {
				return nil, limit // and not where in the store it was reached
			}
			return nil, err
		}
	}
}

func (x *Executor) run(ctx context.Context, r Request) (*Result, error) {
	rd, err := x.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	operands := map[byte]*operand{0: {Operand: r.Operand}}
	letters := []byte{0}
	if r.Expr != nil {
		letters = []byte(r.Expr.Letters())
		for _, l := range letters {
			operands[l] = &operand{Operand: r.Operands[l]}
		}
	}
	res := &Result{Metric: r.Metric, SealedUntil: rd.SealedUntil()}
	if err := prepare(rd, &r, letters, operands, res); err != nil {
		return nil, err
	}
	tables := make(map[byte]*table, len(letters))
	for _, l := range letters {
		o := operands[l]
		f, err := o.prepared.Frame()
		if err != nil {
			return nil, err
		}
		res.SeriesMatched += f.Matched
		if f.Overflow {
			res.warn(fmt.Sprintf("a cardinality limit was reached: new tagsets of %q count in the series %s; totals are exact", o.Metric, metric.OverflowTags))
		}
		tables[l] = o.table(&r, f, res)
	}
	if r.Expr == nil {
		o := operands[0]
		res.Kind, res.Fn = o.Kind, o.Fn
		tables[0].into(&r, res)
	} else {
		res.Metric, res.Expr = r.Expr.String(), true
		t, err := combine(ctx, &r, letters, tables)
		if err != nil {
			return nil, err
		}
		t.into(&r, res)
	}
	if why := rd.Incomplete(); why != "" {
		res.warn(why)
	}
	return res, nil
}

// warn adds a warning, once.
func (res *Result) warn(texts ...string) {
	for _, text := range texts {
		known := false
		for _, w := range res.Warnings {
			known = known || w == text
		}
		if !known {
			res.Warnings = append(res.Warnings, text)
		}
	}
}

// prepare plans the operands, so that they have the same steps, and reads what is open
// of them.
func prepare(rd *Reading, r *Request, letters []byte, operands map[byte]*operand, res *Result) error {
	held := make(map[byte]*metric.Held, len(letters))
	for _, l := range letters {
		o := operands[l]
		ids, warnings, err := o.resolve(rd)
		if err != nil {
			return err
		}
		if r.Cumulative && !o.Fn.addsUp() {
			return paramErrorf("cumulative", "%s is no function that runs up; cumulative goes with count, sum and uniques", o.Fn)
		}
		o.ids = ids
		res.warn(warnings...)
		h := rd.Held(ids[0])
		for _, id := range ids[1:] {
			h = narrowest(h, rd.Held(id))
		}
		held[l] = &h
	}
	grid, err := planAll(r, letters, operands, held)
	if err != nil {
		return err
	}
	res.Grid = grid
	for _, l := range letters {
		o := operands[l]
		res.warn(o.plan.warnings...)
		res.Tier = max(res.Tier, o.plan.tier)
		o.since = held[l].From(o.plan.tier)
		o.prepared, err = rd.Prepare(Read{
			IDs: o.ids, Filters: o.Filters, Group: o.Group, Tier: o.plan.tier, Grid: o.plan.grid, Since: o.since,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// planAll plans each operand until all have the same steps, which it returns: where one needs
// longer ones, the others get them too. The steps of an operand's plan are shifted.
func planAll(r *Request, letters []byte, operands map[byte]*operand, held map[byte]*metric.Held) (Grid, error) {
	grid := r.grid()
	again := true
	for try := 0; again; try++ {
		if again = false; try > 2*len(letters)+len(metric.Tiers) {
			return grid, paramErrorf("shift", "there are no steps that whole buckets make up of all the operands as they are shifted; shift by multiples of the step")
		}
		for _, l := range letters {
			o := operands[l]
			at := r.shifted(&grid, -o.Shift)
			p, err := planFor(r, at, held[l])
			if err != nil {
				return grid, err
			}
			o.plan.tier, o.plan.grid = p.tier, p.grid
			o.plan.warnings = append(o.plan.warnings, p.warnings...)
			if !p.grid.equal(&at) {
				grid, again = r.shifted(&p.grid, o.Shift), true
				break
			}
		}
	}
	return grid, nil
}

// shifted returns steps that are some seconds later. Those of a calendar, moved by whole days,
// begin at the same time of the day where the clocks have changed in between.
func (r *Request) shifted(g *Grid, by int64) Grid {
	out := g.Shifted(by)
	if g.bounds == nil || by%day != 0 {
		return out
	}
	for i, b := range g.bounds {
		out.bounds[i] = metric.SecOf(b.Time().In(r.zone()).AddDate(0, 0, int(by/day)))
	}
	out.From, out.To = out.bounds[0], out.bounds[len(out.bounds)-1]
	return out
}
