package reconcile

import (
	"context"
	"maps"
	"math"
	"slices"

	"cairn/internal/metric"
	"cairn/tsdb"
)

// heldOf returns what the snapshot holds of a metric: more than that may still be there,
// but not all of it.
func (r *run) heldOf(id metric.ID) *metric.Held {
	h := r.helds[id.Name]
	if h == nil {
		held := r.o.Snapshot.HeldOf(id.Name)
		h = &held
		r.helds[id.Name] = h
	}
	return h
}

// deletedBelow returns the position in the journal below which records of a metric may
// be of series that were deleted.
func (r *run) deletedBelow(id metric.ID) uint64 {
	if r.o.Deleted != nil {
		if cut, ok := r.o.Deleted(id); ok {
			return cut
		}
	}
	return 0
}

// accounts compares what was ever stored with what the accounts say is held and the
// totals say is gone, and the accounts of counters with what the chunks hold.
func (r *run) accounts(ctx context.Context) error {
	totals, err := r.o.Snapshot.Totals()
	if err != nil {
		return err
	}
	out := &r.report.Held
	out.Stored, out.Expired, out.Deleted, out.Before = totals.Events, totals.Expired, totals.Deleted, totals.Before
	c := accounting{r: r, eligible: totals.Before == 0, seen: make(map[uint32]struct{})}
	policy, _ := r.o.Snapshot.Retention()
	c.coarsest[policy.Default.Coarsest()] = true
	for i := range policy.Overrides {
		c.coarsest[policy.Overrides[i].Coarsest()] = true
	}
	if !c.eligible {
		r.note("%d events were stored by a version that kept no accounts, so the accounts were not compared with what the store holds", totals.Before)
	}
	if err := r.o.Snapshot.WalkAccounts(ctx, func(a tsdb.Account) error { return c.account(ctx, a) }); err != nil {
		return err
	}
	if err := c.upTo(ctx, metric.Tier1h+1, 0); err != nil {
		return err
	}
	out.Metrics = len(c.seen)
	if sum := out.Accounts + out.Expired + out.Deleted + out.Before; sum != out.Stored {
		r.gone.add(Difference{Metric: "all metrics", Figure: "events", Expected: float64(out.Stored), Stored: float64(sum)})
	}
	return nil
}

// accounting goes through the partitions that have accounts or chunks, in the order of
// the accounts' keys.
type accounting struct {
	r        *run
	eligible bool                    // chunks are compared
	coarsest [metric.Tier1h + 1]bool // by tier: it is that of some metrics
	seen     map[uint32]struct{}

	tier      metric.Tier // that is being read
	partition uint32
	list      []tsdb.Account // of the partition, by metric
	next      uint32         // first partition of the tier that was not compared yet; noPartition: none
}

func (c *accounting) account(ctx context.Context, a tsdb.Account) error {
	c.r.report.Held.Accounts += a.Events
	if err := c.r.pace(ctx); err != nil || !c.eligible {
		return err
	}
	if a.Tier != c.tier || a.Partition != c.partition {
		if err := c.upTo(ctx, a.Tier, a.Partition); err != nil {
			return err
		}
	}
	c.list = append(c.list, a)
	return nil
}

// upTo compares the partition that was read, and those before the one at (t, p) that
// have chunks and no accounts.
func (c *accounting) upTo(ctx context.Context, t metric.Tier, p uint32) error {
	if !c.eligible {
		return nil
	}
	if c.tier == 0 {
		c.tier = metric.Tier1s
	} else if err := c.compare(ctx, c.partition, c.list); err != nil {
		return err
	}
	for {
		end := p
		if c.tier < t {
			end = noPartition
		}
		for c.coarsest[c.tier] && c.next < end {
			next, ok, err := c.r.o.Snapshot.NextPartition(c.tier, c.next)
			if err != nil {
				return err
			}
			if !ok || next >= end {
				break
			}
			if err := c.compare(ctx, next, nil); err != nil {
				return err
			}
		}
		if c.tier == t || c.tier == metric.Tier1h {
			c.partition, c.list = p, c.list[:0]
			return nil
		}
		c.tier, c.next = c.tier+1, 0
	}
}

// compare compares the accounts of a partition with its chunks, for those counters of
// which it is a partition of the coarsest tier, and was it for all that it holds.
func (c *accounting) compare(ctx context.Context, p uint32, list []tsdb.Account) error {
	c.next = max(p, p+1) // noPartition is the last
	if !c.coarsest[c.tier] {
		return nil
	}
	start, found := c.tier.Start(p), make(map[uint32]*amount)
	current, fits := uint32(0), false
	err := c.r.o.Snapshot.WalkChunks(ctx, c.tier, p, 0, tsdb.AllMetrics, func(ch *tsdb.Chunk) error {
		if ch.Metric != current {
			current, fits = ch.Metric, c.fits(ch.Metric, start)
		}
		if err := c.r.pace(ctx); err != nil || !fits {
			return err
		}
		a := found[ch.Metric]
		if a == nil {
			a = &amount{}
			found[ch.Metric] = a
		}
		return ch.Sums(func(_ metric.UnixSec, v float64) { a.add(v) })
	})
	if err != nil {
		return err
	}
	for i := range list {
		if a := &list[i]; c.fits(a.Metric, start) {
			c.metric(a.Metric, a.Units, float64(a.Events), start, found[a.Metric])
			delete(found, a.Metric)
		}
	}
	for _, no := range slices.Sorted(maps.Keys(found)) {
		c.metric(no, 0, 0, start, found[no])
	}
	return nil
}

func (c *accounting) fits(no uint32, start metric.UnixSec) bool {
	if no == 0 || int(no) > len(c.r.ids) || c.r.ids[no-1].Kind != metric.Counter {
		return false
	}
	id := c.r.ids[no-1]
	h := c.r.heldOf(id)
	return h.Coarsest() == c.tier && start >= h.Accounted && c.r.deletedBelow(id) == 0
}

func (c *accounting) metric(no uint32, units, events float64, start metric.UnixSec, chunks *amount) {
	c.seen[no] = struct{}{}
	c.r.report.Held.Partitions++
	if chunks == nil {
		chunks = &amount{}
	}
	account := amount{sum: units, size: math.Abs(units), broken: units != math.Trunc(units)}
	if account.broken || chunks.broken {
		// Fractions that cancelled each other out were larger than what is left of them.
		account.size = max(account.size, events)
	}
	if !account.same(*chunks) {
		c.r.gone.addAll(c.r.ids[no-1], c.tier, start, []unequal{{"sum", units, chunks.sum}})
	}
}
