package query

import (
	"context"
	"fmt"
	"math"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// maxBucketBytes bounds the buckets that one query merges into: a distribution's
// take some hundred bytes to some thousand each, and there are queriesAtOnce.
const maxBucketBytes = 256 << 20

// scanBuckets merges what a selection holds into the columns of its groups.
func (q *run) scanBuckets(ctx context.Context, sel Selection, at []*seen) error {
	return sel.ScanBuckets(ctx, q.tier, q.since, q.r.To, func(i int, sec metric.UnixSec, b bucket.Bucket) error {
		at[i].event = true
		g := at[i].group
		if g.buckets == nil {
			q.bytes += 16 * q.points
			g.buckets = make([]bucket.Bucket, q.points)
		}
		into := &g.buckets[int64(sec-q.r.From)/q.r.Step]
		if *into == nil {
			*into = bucket.New(q.id.Kind)
		} else {
			q.bytes -= (*into).Size()
		}
		(*into).Merge(b)
		if q.bytes += (*into).Size(); q.bytes > maxBucketBytes {
			return paramErrorf("by", "this query makes more than fits in %d MiB: group by fewer tags, filter, or take a longer step or a shorter range", maxBucketBytes>>20)
		}
		return ctx.Err()
	})
}

// readBuckets turns the columns of buckets into numbers. The total of a group, and
// that of all, is read from all its buckets merged: the p99 of an hour is that of
// the hour's observations, and no mean of the minutes'.
func (q *run) readBuckets() (total float64) {
	read := q.r.Fn.reader(q.id.Kind)
	whole := q.r.Fn
	if whole == Rate {
		whole = Count
	}
	readTotal := whole.reader(q.id.Kind)
	all, some := bucket.New(q.id.Kind), false
	for _, g := range q.groups {
		if g.buckets == nil {
			continue
		}
		g.values = make([]float64, q.points)
		sum := bucket.New(q.id.Kind)
		for i, b := range g.buckets {
			if b == nil {
				g.values[i] = math.NaN()
				continue
			}
			g.values[i] = read(b, float64(q.r.Step))
			sum.Merge(b)
		}
		g.total = readTotal(sum, 1)
		all.Merge(sum)
		some = true
	}
	switch {
	case some:
		return readTotal(all, 1)
	case whole == Count || whole == Sum || whole == Uniques:
		return 0
	}
	return math.NaN() // no reading has no average
}

// resolve chooses the metric among those that have the name: the kind that was
// asked for, or the one that there is, or the first one that has the function.
func (q *run) resolve(v *View) (warnings []string, err error) {
	var known []metric.Kind
	for _, k := range metric.Kinds {
		for _, s := range append(v.Open, v.Store) {
			if hasKind(s, q.r.Metric, k) {
				known = append(known, k)
				break
			}
		}
	}
	kind := q.r.Kind
	if kind == 0 {
		kind = firstWith(q.r.Fn, known)
		if len(known) > 1 {
			warnings = append(warnings, fmt.Sprintf("the name %q stands for %d metrics: %s; this is the %s, and the parameter kind selects another", q.r.Metric, len(known), kindList(known), kind))
		}
	}
	if q.r.Fn == "" {
		q.r.Fn = fnsOf[kind][0]
	}
	if !q.r.Fn.of(kind) {
		return nil, paramErrorf("fn", "%q is a %s, which has no %s; it has %s", q.r.Metric, kind, q.r.Fn, FnNames(kind))
	}
	q.id = metric.ID{Name: q.r.Metric, Kind: kind}
	return warnings, nil
}

func hasKind(s Source, name string, k metric.Kind) bool {
	for _, have := range s.Kinds(name) {
		if have == k {
			return true
		}
	}
	return false
}

// firstWith returns the first of known that has the function; if none does, the
// first; if none is known, the first kind of all that has it.
func firstWith(f Fn, known []metric.Kind) metric.Kind {
	for _, k := range known {
		if f == "" || f.of(k) {
			return k
		}
	}
	if len(known) > 0 {
		return known[0]
	}
	for _, k := range metric.Kinds {
		if f == "" || f.of(k) {
			return k
		}
	}
	return metric.Counter
}

func kindList(kinds []metric.Kind) string {
	s := ""
	for i, k := range kinds {
		if i > 0 {
			s += " and "
		}
		s += "a " + k.String()
	}
	return s
}
