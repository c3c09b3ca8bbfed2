package flush

import (
	"slices"

	"cairn/agg"
	"cairn/internal/metric"
)

// change is what a commit has changed of the store: of each metric the first second of
// which it has added something.
type change struct {
	version uint64
	first   map[metric.ID]metric.UnixSec
	// all, if it is not Never, holds for every metric that is not in first.
	all metric.UnixSec
}

const (
	// maxChanges is how many commits back it can be told what has changed: ten minutes.
	maxChanges = 60
	// maxChanged is of how many metrics it is told one by one: some hundred kilobytes a commit.
	maxChanged = 4096
)

// touched gathers the change of a commit. It is the flush's.
type touched struct {
	metricOf []uint32         // by handle: the registry's number of the metric, + 1
	first    []metric.UnixSec // by that number
	numbers  []uint32         // of the metrics that have a first
}

// begin forgets what was gathered.
func (t *touched) begin() {
	for _, m := range t.numbers {
		t.first[m] = metric.Never
	}
	t.numbers = t.numbers[:0]
}

// add notes that a series gets something from a second on.
func (t *touched) add(r *agg.Registry, h agg.Handle, sec metric.UnixSec) {
	for int(h) >= len(t.metricOf) {
		t.metricOf = append(t.metricOf, 0)
	}
	if t.metricOf[h] == 0 {
		t.metricOf[h] = r.Metric(h) + 1
	}
	m := t.metricOf[h] - 1
	for int(m) >= len(t.first) {
		t.first = append(t.first, metric.Never)
	}
	if t.first[m] == metric.Never {
		t.numbers = append(t.numbers, m)
	}
	t.first[m] = min(t.first[m], sec)
}

// change returns what was gathered.
func (t *touched) change(r *agg.Registry) change {
	c := change{all: metric.Never}
	if len(t.numbers) > maxChanged {
		for _, m := range t.numbers {
			c.all = min(c.all, t.first[m])
		}
		return c
	}
	ids := r.Metrics()
	c.first = make(map[metric.ID]metric.UnixSec, len(t.numbers))
	for _, m := range t.numbers {
		c.first[ids[m]] = t.first[m]
	}
	return c
}

// changed notes that the store that queries see is another one. The caller holds the view's
// lock.
func (p *Pump) changed(c change) {
	p.version++
	c.version = p.version
	from := max(0, len(p.changes)+1-maxChanges)
	p.changes = append(slices.Clip(p.changes[from:]), c) // views have the old one
}

// sameBefore is query.View.SameBefore: changes are those until the view's version.
func sameBefore(changes []change, id metric.ID, version uint64) metric.UnixSec {
	if len(changes) == 0 {
		return metric.Never // there was no flush yet
	}
	if version+1 < changes[0].version {
		return 0
	}
	same := metric.Never
	for i := range changes {
		if c := &changes[i]; c.version > version {
			sec, ok := c.first[id]
			if !ok {
				sec = c.all
			}
			same = min(same, sec)
		}
	}
	return same
}
