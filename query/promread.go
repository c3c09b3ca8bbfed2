package query

import (
	"cairn/internal/bucket"
	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// What query/promql needs of a reading besides frames.

// Buckets returns what a group of a kind that is no counter holds, one a step; nil: no event.
// The caller must not change them.
func (g *Group) Buckets() []bucket.Bucket { return g.buckets }

// TierChoice says from which tier some steps are read.
type TierChoice struct {
	metric.Tier
	// Since is the first second of which the tier holds all.
	Since metric.UnixSec
	// Divides reports whether no bucket of the tier lies in two of the steps.
	Divides bool
}

// TierFor returns the tier for the steps of a grid: the first that there is of the coarsest that
// divides them and holds all of them, the finest that holds all, and the one that holds
// the most. ok is false if none is kept of all the metrics.
func (rd *Reading) TierFor(ids []metric.ID, g Grid) (c TierChoice, ok bool) {
	h := rd.heldOf(ids)
	if p, ok := planDirect(g, &h); ok {
		return TierChoice{p.tier, h.From(p.tier), true}, true
	}
	for _, t := range metric.Tiers {
		if !h.Keeps(t) {
			continue
		}
		if h.Holds(t, g.From.Floor(t.Width())) {
			return TierChoice{t, h.From(t), g.Divides(t)}, true
		}
		if since := h.From(t); !ok || since < c.Since || since == c.Since && g.Divides(t) {
			c, ok = TierChoice{t, since, g.Divides(t)}, true
		}
	}
	return c, ok
}

func (rd *Reading) heldOf(ids []metric.ID) metric.Held {
	h := rd.Held(ids[0])
	for _, id := range ids[1:] {
		h = narrowest(h, rd.Held(id))
	}
	return h
}

// FinestFor returns the finest tier that holds all from a second on, or else the one that
// holds the most.
func (rd *Reading) FinestFor(ids []metric.ID, from metric.UnixSec) (c TierChoice, ok bool) {
	h := rd.heldOf(ids)
	for _, t := range metric.Tiers {
		switch since := h.From(t); {
		case !h.Keeps(t):
		case h.Holds(t, from.Floor(t.Width())):
			return TierChoice{t, since, true}, true
		case !ok || since < c.Since:
			c, ok = TierChoice{t, since, true}, true
		}
	}
	return c, ok
}

// Err is why the reading must end early; nil: it need not.
func (rd *Reading) Err() error { return rd.ctx.Err() }

// Metrics describes all metrics, in no order; one may come several times.
func (rd *Reading) Metrics() (all []MetricInfo) {
	for _, s := range rd.sources() {
		all = append(all, s.Metrics()...)
	}
	return all
}

// Tags calls visit with the tags of a metric's series; one may come several times.
func (rd *Reading) Tags(id metric.ID, visit func(metric.Tag)) {
	for _, s := range rd.sources() {
		s.TagCounts(id, func(t metric.Tag, _ int) { visit(t) })
	}
}

// Tagsets returns the series of a metric that match; one that is both open and stored
// comes twice. They count towards the limit of series.
func (rd *Reading) Tagsets(id metric.ID, match matcher.List) (all []metric.Tagset, err error) {
	for _, s := range rd.sources() {
		sel, err := rd.selected(s, id, match)
		if err != nil {
			return nil, err
		}
		all = append(all, sel.Tags()...)
	}
	return all, nil
}
