package ledger

import (
	"context"
	"fmt"
	"math"
	"time"

	"cairn/internal/metric"
	"cairn/query"
)

const (
	// sampleMetrics and sampleSeries bound what one check reads of the store: a few
	// hundred chunks a tier. Each check takes others; `cairn verify` takes all.
	sampleMetrics = 4
	sampleSeries  = 64
	// sampleTime is when a check gives up, on a disk that is busy otherwise.
	sampleTime = 2 * time.Second
)

// tiers compares, for a sample of counters, the latest hour of each in all tiers: a
// flush adds to all of them that hold it at once, so they agree at any instant. fault is "" if they do.
func (l *Ledger) tiers() (units float64, fault string) {
	if l.s.View == nil {
		return 0, ""
	}
	v, err := l.s.View()
	if err != nil {
		return 0, "" // it is closed: there is nothing to compare any more
	}
	defer v.Close()
	v.OpenDone()
	var counters []query.MetricInfo
	for _, m := range v.Store.Metrics() {
		if m.ID.Kind == metric.Counter && m.Series > 0 {
			counters = append(counters, m)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), sampleTime)
	defer cancel()
	l.rounds++
	for i := range min(sampleMetrics, len(counters)) {
		m := counters[(l.rounds*sampleMetrics+i)%len(counters)]
		hour := m.LastSeen.Floor(3600)
		apart, err := tiersApart(ctx, sample(v.Store, m, l.rounds), hour, func() []metric.Tier { return l.held(m.ID.Name, hour) })
		switch {
		case ctx.Err() != nil:
			return 0, ""
		case err != nil:
			return 1, fmt.Sprintf("the tiers of %s cannot be compared: %s", m.ID.Name, err)
		case apart != 0:
			return apart, fmt.Sprintf("units of %s in the hour from %d on that the tiers do not have in common: %g", m.ID.Name, hour, apart)
		}
	}
	return 0, ""
}

func (l *Ledger) held(name string, hour metric.UnixSec) []metric.Tier {
	if l.s.Held == nil {
		return metric.Tiers[:]
	}
	return l.s.Held(name, hour)
}

// sample selects some of a metric's series, others in each round.
func sample(s query.Source, m query.MetricInfo, round int) query.Selection {
	stride := max(1, m.Series/sampleSeries)
	n, taken := round%stride, 0
	return s.Select(m.ID, func(metric.Tagset) bool {
		n++
		if n%stride != 0 || taken == sampleSeries {
			return false
		}
		taken++
		return true
	})
}

// tiersApart returns by how much a tier's sums over the hour from from on differ from
// those of the finest one that holds it; 0: no more than floats round. held is asked once
// the sums are read: what is held then was held all the time.
func tiersApart(ctx context.Context, sel query.Selection, from metric.UnixSec, held func() []metric.Tier) (float64, error) {
	var totals [len(metric.Tiers)]float64
	scale := 0.0
	for _, t := range metric.Tiers {
		err := sel.Scan(ctx, t, from, from+3600, func(_ int, _ metric.UnixSec, _ int64, _ []uint32, sums []float64) error {
			for _, x := range sums {
				totals[t-1] += x
				scale = math.Max(scale, math.Abs(x))
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	tiers := held()
	for i, t := range tiers {
		total, finest := totals[t-1], totals[tiers[0]-1]
		scale = math.Max(scale, math.Abs(finest))
		if i > 0 && math.Abs(total-finest) > unitsShare*scale {
			return total - finest, nil
		}
	}
	return 0, nil
}
