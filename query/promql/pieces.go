package promql

import (
	"fmt"

	"cairn/internal/metric"
	"cairn/query"
)

// worthwhile is how many buckets a window must have before it is read in pieces: selecting series
// thrice costs about as much.
const worthwhile = 600

// pieces divides one long window that does not begin and end at the bounds of coarse buckets, such
// as increase(m[7d]) just now: its ends are read from a finer tier than what is between them, and
// their series, which have the same labels, are added up. If the fine tier does not reach back that
// far, the window begins at a whole bucket, and still ends where it should. nil: it is read as
// a whole.
func (r *read) pieces(s *session, ids []metric.ID) []*read {
	p := r.p
	if p.shape != windows || p.when.n != 1 || p.finest || !r.class.adds() || r.class.part == buckets {
		return nil
	}
	to := metric.UnixSec(min(secs(p.when.first), s.now))
	asked := metric.UnixSec(secs(p.when.first) - max(1, p.window))
	from := asked
	if to <= from {
		return nil
	}
	if first, ok := s.rd.FinestFor(ids, from); ok && !r.divided(s, ids, from, to) {
		from = from.Floor(first.Width())
	}
	for i := len(metric.Tiers) - 1; i > 0; i-- {
		w := metric.Tiers[i].Width()
		lo, hi := from.Ceil(w), to.Floor(w)
		if int64(hi-lo) < worthwhile {
			continue
		}
		var out []*read
		for _, bounds := range [][2]metric.UnixSec{{lo, hi}, {from, lo}, {hi, to}} {
			if bounds[0] == bounds[1] {
				continue
			}
			x := *r
			x.per, x.width = 1, int64(to-from)
			x.grid = query.Grid{From: bounds[0], To: bounds[1], Step: int64(bounds[1] - bounds[0])}
			var ok bool
			if x.tier, ok = s.rd.TierFor(ids, x.grid); !ok || !x.tier.Divides || x.grid.From < x.tier.Since {
				out = nil
				break
			}
			out = append(out, &x)
		}
		if len(out) == 1 && out[0].tier.Width() < w || len(out) == 0 {
			continue
		}
		if from < asked {
			s.warn(fmt.Sprintf("of the range's beginning only %s buckets are left, so a window of %s begins %d s earlier, at a whole one",
				out[min(1, len(out)-1)].tier.Tier, metric.Span(p.window), asked-from))
		}
		return out
	}
	return nil
}

// divided reports whether there is a tier for exactly that range.
func (r *read) divided(s *session, ids []metric.ID, from, to metric.UnixSec) bool {
	c, ok := s.rd.TierFor(ids, query.Grid{From: from, To: to, Step: int64(to - from)})
	return ok && c.Divides
}
