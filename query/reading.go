package query

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// Reading is one view, which a query reads within its limits. First all its Reads are
// prepared, and then their frames are made: the first Frame lets flushes go on, after which
// nothing can be prepared any more. It is for one goroutine, and must be closed.
type Reading struct {
	ctx    context.Context
	v      *View
	limits Limits
	cache  *cache
	opened bool
	series int          // selected
	cells  atomic.Int64 // of columns
	bytes  atomic.Int64 // of buckets
	read   atomic.Int64 // samples
}

// Begin returns a reading of the current view, which ends early with ctx's error.
func (x *Executor) Begin(ctx context.Context) (*Reading, error) {
	v, err := x.Acquire()
	if err != nil {
		return nil, err
	}
	return &Reading{ctx: ctx, v: v, limits: x.Limits, cache: x.results()}, nil
}

// Undecided is an error of Prepare: a regular expression has much to do before it is known
// which series match, and that must be done while no view is open.
type Undecided interface {
	error
	// Decide does it. It ends early with ctx's error.
	Decide(ctx context.Context) error
}

// Settle is to be called with the error of a reading, once it was closed: nil says that the
// same reads can be prepared again in a new one, and get further.
func Settle(ctx context.Context, err error) error {
	var u Undecided
	if errors.As(err, &u) {
		return u.Decide(ctx)
	}
	return err
}

// Close gives the view up.
func (rd *Reading) Close() { rd.v.Close() }

// SealedUntil is the view's watermark.
func (rd *Reading) SealedUntil() metric.UnixSec { return rd.v.SealedUntil }

// Incomplete says why buckets may be missing from the view; "": none is.
func (rd *Reading) Incomplete() string { return rd.v.Incomplete }

// Held returns what the tiers hold of a metric.
func (rd *Reading) Held(id metric.ID) metric.Held {
	if rd.v.Held == nil {
		return everything
	}
	return rd.v.Held(id)
}

func (rd *Reading) sources() []Source { return append(slices.Clip(rd.v.Open), rd.v.Store) }

// Kinds returns the kinds under which a name is known, in the order of metric.Kinds.
func (rd *Reading) Kinds(name string) (known []metric.Kind) {
	for _, k := range metric.Kinds {
		for _, s := range rd.sources() {
			if slices.Contains(s.Kinds(name), k) {
				known = append(known, k)
				break
			}
		}
	}
	return known
}

// IDs returns all metrics, by name, then kind. Some may have no series left.
func (rd *Reading) IDs() []metric.ID {
	var out []metric.ID
	for _, s := range rd.sources() {
		out = append(out, s.IDs()...)
	}
	slices.SortFunc(out, compareIDs)
	return slices.Compact(out)
}

// Read asks for the buckets of some series.
type Read struct {
	IDs     []metric.ID // all of one kind
	Filters matcher.List
	Group   Grouping
	Tier    metric.Tier // it divides the grid
	Grid    Grid
	// Since is before where buckets are not read, a multiple of the tier's width: they are on
	// their way out.
	Since metric.UnixSec
}

// Prepared is a Read of which everything but what the store holds has been read.
type Prepared struct {
	rd      *Reading
	r       Read
	groups  *grouper
	open    *part
	counted counted
	seen    map[seriesKey]struct{} // with an event in the open part
	stored  []Selection            // by metric; of the same instant as what was open
	cached  *stored                // what is known of the store already; nil: nothing
	keep    [2]int                 // and the steps of which it is, in r.Grid
}

// seriesKey tells the series of a Read apart.
type seriesKey struct {
	id   int // place in Read.IDs
	tags metric.Tagset
}

// Prepare selects the series, and reads what is open of them.
func (rd *Reading) Prepare(r Read) (*Prepared, error) {
	if rd.opened {
		panic("BUG: a read is prepared after another one's frame was made")
	}
	if !r.Grid.Divides(r.Tier) {
		panic(fmt.Sprintf("BUG: the tier %s does not divide steps of %d s", r.Tier, r.Grid.Step))
	}
	r.Since = min(max(r.Since, r.Grid.From), r.Grid.To)
	p := &Prepared{rd: rd, r: r, groups: newGrouper(r.Group), seen: make(map[seriesKey]struct{})}
	p.open = &part{rd: rd, r: &p.r, from: r.Since, to: r.Grid.To, counted: &p.counted}
	open := make([][]Selection, len(rd.v.Open)) // by source and metric
	for _, id := range r.IDs {
		for i, s := range rd.v.Open {
			sel, err := s.Select(rd.ctx, id, r.Filters)
			if err != nil {
				return nil, err
			}
			open[i] = append(open[i], sel)
		}
		sel, err := rd.selected(rd.v.Store, id, r.Filters)
		if err != nil {
			return nil, err
		}
		p.stored = append(p.stored, sel)
	}
	for _, all := range open {
		if err := p.readOpen(all); err != nil {
			return nil, err
		}
	}
	rd.cache.find(p)
	return p, nil
}

func (rd *Reading) selected(s Source, id metric.ID, match matcher.List) (Selection, error) {
	sel, err := s.Select(rd.ctx, id, match)
	if err != nil {
		return nil, err
	}
	if rd.series += len(sel.Tags()); rd.limits.Series > 0 && rd.series > rd.limits.Series {
		return nil, limitErrorf("this query reads more than %d series, the limit --max-query-series: %s", rd.limits.Series, less)
	}
	return sel, nil
}

// readOpen reads what an open source has of each metric.
func (p *Prepared) readOpen(all []Selection) error {
	if len(all) == 1 || p.rd.v.Join == nil {
		for id, sel := range all {
			if err := p.scanOpen(sel, func(int) int { return id }); err != nil {
				return err
			}
		}
		return nil
	}
	var of []int32 // by place
	for id, sel := range all {
		for range sel.Tags() {
			of = append(of, int32(id))
		}
	}
	return p.scanOpen(p.rd.v.Join(all), func(i int) int { return int(of[i]) })
}

// scanOpen reads a selection; of returns the place in Read.IDs of the metric of a series.
func (p *Prepared) scanOpen(sel Selection, of func(i int) int) error {
	tags := sel.Tags()
	to := make([]int32, len(tags)) // group + 1; 0: the series has no event yet
	group := func(i int) int {
		if to[i] == 0 {
			id := of(i)
			to[i] = int32(p.groups.of(p.r.IDs[id].Name, tags[i])) + 1
			p.seen[seriesKey{id, tags[i]}] = struct{}{}
		}
		return int(to[i]) - 1
	}
	return p.open.scan(p.rd.ctx, sel, group, func(int, metric.UnixSec) {})
}

// Frame reads what the store holds, and returns all of it.
func (p *Prepared) Frame() (*Frame, error) {
	p.rd.opened = true
	p.rd.v.OpenDone()
	st, err := p.read()
	if err != nil {
		return nil, err
	}
	f := &Frame{Kind: p.kind(), Grid: p.r.Grid, Matched: len(p.seen)}
	for i := range st.series {
		key := st.series[i].seriesKey
		if len(p.seen) > 0 {
			if _, again := p.seen[key]; again {
				continue
			}
		}
		f.Matched++
		f.Overflow = f.Overflow || key.tags == metric.OverflowTags
	}
	for key := range p.seen {
		f.Overflow = f.Overflow || key.tags == metric.OverflowTags
	}
	columns := p.open.columns
	for i := range st.columns {
		if st.columns[i].empty() {
			continue
		}
		no := p.groups.named(st.names[i])
		columns = grown(columns, no+1)
		columns[no].join(&st.columns[i])
	}
	for no := range columns {
		if !columns[no].empty() {
			g := p.groups.group(no)
			g.column = columns[no]
			f.Groups = append(f.Groups, g)
		}
	}
	return f, nil
}

func (p *Prepared) kind() metric.Kind { return p.r.IDs[0].Kind }
