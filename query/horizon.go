package query

import (
	"fmt"
	"strings"
	"time"

	"cairn/internal/metric"
)

// plan is how a request is served: by one tier, in whole steps.
type plan struct {
	tier     metric.Tier
	grid     Grid     // the tier divides it
	warnings []string // that it is not what was asked for
}

// everything is held where the view does not tell.
var everything = metric.Held{Retention: metric.DefaultRetention}

// narrowest is what is held of two metrics alike.
func narrowest(a, b metric.Held) metric.Held {
	for i := range metric.Tiers {
		a.Retention[i] = min(a.Retention[i], b.Retention[i])
		a.Since[i] = max(a.Since[i], b.Since[i])
	}
	a.Accounted = max(a.Accounted, b.Accounted)
	return a
}

// planFor chooses the tier for the steps g, which r asks for. The first that there is of
//
//   - the coarsest tier that divides the steps and holds all of the range: it has the
//     fewest buckets to read, and the same sums
//   - the finest tier that holds all of the range, with steps that it divides
//   - the tier that holds the most of the range, with steps that it divides
//
// A step that was chosen by the length of the range becomes another one of autoSteps,
// as each of these divides the next, and the tiers' widths are among them.
func planFor(r *Request, g Grid, h *metric.Held) (plan, error) {
	if p, ok := planDirect(g, h); ok {
		return p, nil // who made the request has counted its points
	}
	p, err := planWidened(r, g, h)
	if err != nil {
		return p, err
	}
	return p, checkPoints(&p.grid)
}

func planDirect(g Grid, h *metric.Held) (p plan, ok bool) {
	for _, t := range metric.Tiers {
		if h.Keeps(t) && g.Divides(t) && h.Holds(t, g.From) {
			p, ok = plan{tier: t, grid: g}, true
		}
	}
	return p, ok
}

func planWidened(r *Request, g Grid, h *metric.Held) (plan, error) {
	var most plan
	for _, t := range metric.Tiers {
		if !h.Keeps(t) {
			continue
		}
		p := plan{tier: t, grid: g.widened(t)}
		if h.Holds(t, p.grid.From) {
			p.warnWidened(r, g, h)
			return p, nil
		}
		// Of those that hold as much, one that divides the steps needs no others.
		since := h.From(t)
		if most.tier == 0 || since < h.From(most.tier) || since == h.From(most.tier) && g.Divides(t) {
			most = p
		}
	}
	if most.tier == 0 {
		return most, paramErrorf("metric", "no resolution is kept of all the metrics that match %q; ask for fewer of them", r.Metric)
	}
	most.warnWidened(r, g, h)
	most.warnings = append(most.warnings, fmt.Sprintf("what is kept of it begins at %s: %s is kept for %s, and nothing for longer",
		stamp(h.From(most.tier)), most.tier, metric.Span(h.Of(most.tier))))
	return most, nil
}

// warnWidened says why the steps are others than what was asked for, if they are.
func (p *plan) warnWidened(r *Request, g Grid, h *metric.Held) {
	if p.grid.equal(&g) || r.Auto && p.grid.bounds == nil {
		return
	}
	var gone []string // finer tiers that do not hold the range any more
	before := metric.Never
	for _, t := range metric.Tiers {
		if t < p.tier && h.Keeps(t) {
			before = min(before, h.From(t))
			gone = append(gone, fmt.Sprintf("%s is kept for %s", t, metric.Span(h.Of(t))))
		}
	}
	why := fmt.Sprintf("%s is the finest resolution that is kept", p.tier)
	if len(gone) > 0 {
		why = fmt.Sprintf("%s; before %s only %s buckets are left", strings.Join(gone, ", "), stamp(before), p.tier)
	}
	if p.grid.Step == g.Step {
		p.warnings = append(p.warnings, fmt.Sprintf("%s, so the steps begin at whole buckets of %s", why, p.tier))
		return
	}
	p.warnings = append(p.warnings, fmt.Sprintf("%s, so the step is %s instead of %s", why, metric.Span(p.grid.Step), metric.Span(g.Step)))
}

func stamp(sec metric.UnixSec) string { return sec.Time().Format(time.RFC3339) }
