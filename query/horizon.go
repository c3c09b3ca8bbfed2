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
	from, to metric.UnixSec // whole steps
	step     int64          // a multiple of the tier's width
	warnings []string       // that it is not what was asked for
}

// everything is held where the view does not tell.
var everything = metric.Held{Retention: metric.DefaultRetention}

// planFor chooses the tier. The first that there is of
//
//   - the coarsest tier that divides the step and holds all of the range: it has the
//     fewest buckets to read, and the same sums
//   - the finest tier that holds all of the range, with a step that it divides
//   - the tier that holds the most of the range, with a step that it divides
//
// A step that was chosen by the length of the range becomes another one of autoSteps,
// as each of these divides the next, and the tiers' widths are among them.
func planFor(r *Request, h *metric.Held) (plan, error) {
	if p, ok := planDirect(r, h); ok {
		return p, nil // who made the request has counted its points
	}
	p := planWidened(r, h)
	return p, checkPoints(p.from, p.to, p.step)
}

func planDirect(r *Request, h *metric.Held) (p plan, ok bool) {
	from, to := r.From.Floor(r.Step), r.To.Ceil(r.Step)
	for _, t := range metric.Tiers {
		if h.Keeps(t) && r.Step%t.Width() == 0 && h.Holds(t, from) {
			p, ok = plan{tier: t, from: from, to: to, step: r.Step}, true
		}
	}
	return p, ok
}

func planWidened(r *Request, h *metric.Held) plan {
	var most plan
	for _, t := range metric.Tiers {
		if !h.Keeps(t) {
			continue
		}
		width := t.Width()
		p := plan{tier: t, step: (r.Step + width - 1) / width * width}
		p.from, p.to = r.From.Floor(p.step), r.To.Ceil(p.step)
		if h.Holds(t, p.from) {
			p.warnWidened(r, h)
			return p
		}
		// Of those that hold as much, one that divides the step needs no other.
		since := h.From(t)
		if most.tier == 0 || since < h.From(most.tier) || since == h.From(most.tier) && r.Step%width == 0 {
			most = p
		}
	}
	most.warnWidened(r, h)
	most.warnings = append(most.warnings, fmt.Sprintf("what is kept of it begins at %s: %s is kept for %s, and nothing for longer",
		stamp(h.From(most.tier)), most.tier, metric.Span(h.Of(most.tier))))
	return most
}

// warnWidened says why the step is longer than what was asked for, if it is.
func (p *plan) warnWidened(r *Request, h *metric.Held) {
	if p.step == r.Step || r.Auto {
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
	p.warnings = append(p.warnings, fmt.Sprintf("%s, so the step is %s instead of %s", why, metric.Span(p.step), metric.Span(r.Step)))
}

func stamp(sec metric.UnixSec) string { return sec.Time().Format(time.RFC3339) }
