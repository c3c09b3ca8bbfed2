package reconcile

import (
	"context"
	"iter"
	"maps"
	"slices"

	"cairn/internal/metric"
	"cairn/tsdb"
)

const (
	hour = 3600
	// window is what is compared at a time: partitions of all tiers but the coarsest
	// begin with it, so that each chunk of those is read once.
	window = 24 * hour
	// maxWeight bounds the metrics whose hours are in memory together, by what they weigh:
	// one of a counter's takes 8 KiB in 24 hours of four tiers, a set up to 1.5 MiB.
	maxWeight   = 2048
	setWeight   = 192
	otherWeight = 4
)

// tiers compares the tiers with one another: what each has of a metric in an hour.
func (r *run) tiers(ctx context.Context) error {
	seen := make(map[metric.ID]struct{})
	for day := metric.UnixSec(0); ; day += window {
		next, ok, err := r.nextDay(day)
		if err != nil || !ok {
			r.report.Tiers.Metrics = len(seen)
			return err
		}
		day = next
		for from := 0; from < len(r.ids); {
			to, weight := from, 0
			for ; to < len(r.ids) && weight < maxWeight; to++ {
				weight += weightOf(r.ids[to].Kind)
			}
			d := dayOf{r: r, begin: day, from: uint32(from) + 1, to: uint32(to) + 1, seen: seen}
			if err := d.compare(ctx); err != nil {
				return err
			}
			from = to
		}
	}
}

func weightOf(k metric.Kind) int {
	switch k {
	case metric.Counter:
		return 1
	case metric.Set:
		return setWeight
	}
	return otherWeight
}

// nextDay returns the first day from begin on in which a tier may have something.
func (r *run) nextDay(begin metric.UnixSec) (day metric.UnixSec, ok bool, err error) {
	if begin > metric.MaxSec {
		return 0, false, nil
	}
	for _, t := range metric.Tiers {
		p, _ := t.Place(begin)
		next, found, err := r.o.Snapshot.NextPartition(t, p)
		if err != nil {
			return 0, false, err
		}
		if at := max(begin, t.Start(next)); found && (!ok || at < day) {
			day, ok = at, true
		}
	}
	return day.Floor(window), ok, nil
}

// dayOf compares the metrics with numbers in [from, to) in one day.
type dayOf struct {
	r        *run
	begin    metric.UnixSec
	from, to uint32
	seen     map[metric.ID]struct{}
}

func (d *dayOf) compare(ctx context.Context) error {
	hours := make(map[uint32]*[len(metric.Tiers)]stored)
	end := d.begin + window
	for i, t := range metric.Tiers {
		first, _ := t.Place(d.begin)
		last, _ := t.Place(end - 1)
		for p := first; p <= last; p++ {
			err := d.r.o.Snapshot.WalkChunks(ctx, t, p, d.from, d.to, func(ch *tsdb.Chunk) error {
				h := hours[ch.Metric]
				if h == nil {
					h = new([len(metric.Tiers)]stored)
					for j := range h {
						h[j].reset(d.r.idOf(ch.Metric).Kind)
					}
					hours[ch.Metric] = h
				}
				if err := d.r.pace(ctx); err != nil {
					return err
				}
				return h[i].fold(ch, hour, d.begin, end)
			})
			if err != nil {
				return err
			}
		}
	}
	for _, no := range slices.Sorted(maps.Keys(hours)) {
		d.metric(d.r.idOf(no), hours[no])
	}
	return nil
}

// metric compares the hours of one metric in the tiers that hold them with those of the
// finest of these.
func (d *dayOf) metric(id metric.ID, tiers *[len(metric.Tiers)]stored) {
	all := make(map[metric.UnixSec]struct{})
	for i := range tiers {
		for _, at := range tiers[i].left() {
			all[at] = struct{}{}
		}
	}
	held := d.r.heldOf(id)
	for _, at := range slices.Sorted(maps.Keys(all)) {
		var holders []metric.Tier // of all of the hour
		for _, t := range metric.Tiers {
			if held.Holds(t, at) {
				holders = append(holders, t)
			}
		}
		if len(holders) < 2 {
			d.r.report.Tiers.Skipped++
			continue
		}
		d.seen[id] = struct{}{}
		d.r.report.Tiers.Hours++
		for _, t := range holders[1:] {
			fine, coarse := &tiers[holders[0]-1], &tiers[t-1]
			if id.Kind == metric.Counter {
				a, ok := fine.sums[at]
				b, found := coarse.sums[at]
				if !a.same(b) || ok != found {
					d.r.uneven.addAll(id, t, at, []unequal{{"sum", a.sum, b.sum}})
				}
				continue
			}
			d.r.uneven.addAll(id, t, at, orEmpty(fine.others[at]).compare(id.Kind, orEmpty(coarse.others[at])))
		}
	}
}

func orEmpty(f *figures) *figures {
	if f == nil {
		return &figures{}
	}
	return f
}

func concat[T any](lists ...iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, l := range lists {
			for v := range l {
				if !yield(v) {
					return
				}
			}
		}
	}
}
