package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"cairn/internal/bucket"
	"cairn/internal/metric"
	"cairn/query"
)

// heldOracle is what the tiers must hold: plain maps, of which it drops what retention
// does. Of a bucket it knows what it takes to say all its bytes.
type heldOracle struct {
	policy metric.Policy
	series []*heldSeries
	clock  heldClock

	events  uint64 // that ever were to count
	held    uint64 // of them in a partition of their metric's coarsest tier
	expired uint64
}

// heldClock is the retention's: passes of one process bring it nearer to the clock by
// twice the time between them at most, so that a jump deletes nothing.
type heldClock struct {
	shows metric.UnixSec // 0: no pass yet
	last  metric.UnixSec // pass of this process; 0: none
}

func (c *heldClock) pass(now metric.UnixSec) {
	switch {
	case c.shows == 0:
		c.shows = now
	case c.last != 0:
		c.shows = max(c.shows, min(now, c.shows+2*(now-c.last)))
	}
	c.last = now
}

type heldSeries struct {
	id    metric.ID
	tags  metric.Tagset
	keep  [len(metric.Tiers)]int64 // seconds, by tier - 1
	parts [len(metric.Tiers)]map[int64]map[metric.UnixSec]*heldBucket
}

// heldBucket is one bucket of any kind.
type heldBucket struct {
	events      uint64
	count, sum  float64
	least, most float64
	last        float64
	at          bucket.At
	unsure      bool // two readings have the last place in time
	weights     map[float64]float64
	members     map[float64]bool
}

// Widths of buckets and spans of partitions, as docs/format.md has them.
var (
	heldWidths = [...]metric.UnixSec{1, 10, 60, 3600}
	heldSpans  = [...]int64{3600, 6 * 3600, 24 * 3600, 30 * 24 * 3600}
)

// holds is the definition: a partition is there as long as its last second is not older
// than the tier is kept.
func (o *heldOracle) holds(s *heldSeries, tier int, partition int64) bool {
	lastSecond := (partition+1)*heldSpans[tier] - 1
	return s.keep[tier] > 0 && lastSecond >= int64(o.clock.shows)-s.keep[tier]
}

// coarsest is the tier of a series that is kept the longest.
func (s *heldSeries) coarsest() int {
	for i := len(s.keep) - 1; ; i-- {
		if s.keep[i] > 0 {
			return i
		}
	}
}

func (o *heldOracle) newSeries(id metric.ID, tags metric.Tagset) *heldSeries {
	s := &heldSeries{id: id, tags: tags, keep: o.policy.Of(id.Name)}
	for i := range s.parts {
		s.parts[i] = make(map[int64]map[metric.UnixSec]*heldBucket)
	}
	o.series = append(o.series, s)
	return s
}

func (o *heldOracle) add(s *heldSeries, e event) {
	o.events++
	for i, width := range heldWidths {
		partition := int64(e.sec) / heldSpans[i]
		if !o.holds(s, i, partition) {
			if i == s.coarsest() {
				o.expired++
			}
			continue
		}
		if i == s.coarsest() {
			o.held++
		}
		buckets := s.parts[i][partition]
		if buckets == nil {
			buckets = make(map[metric.UnixSec]*heldBucket)
			s.parts[i][partition] = buckets
		}
		b := buckets[e.sec/width]
		if b == nil {
			b = &heldBucket{least: math.Inf(1), most: math.Inf(-1)}
			buckets[e.sec/width] = b
		}
		b.add(e)
	}
}

func (b *heldBucket) add(e event) {
	b.events++
	b.count += e.weight
	b.sum += e.value * e.weight
	b.least, b.most = min(b.least, e.value), max(b.most, e.value)
	switch e.kind {
	case metric.Gauge:
		at := bucket.At{Sec: e.sec, Late: uint32(max(0, e.at-e.sec.Milli()))}
		if b.events > 1 && at == b.at && e.value != b.last {
			b.unsure = true
		} else if b.events == 1 || b.at.Sec < at.Sec || b.at.Sec == at.Sec && b.at.Late < at.Late {
			b.last, b.at, b.unsure = e.value, at, false
		}
	case metric.Distribution:
		if b.weights == nil {
			b.weights = make(map[float64]float64)
		}
		b.weights[e.value] += e.weight
	case metric.Set:
		if b.members == nil {
			b.members = make(map[float64]bool)
		}
		b.members[e.value] = true
	}
}

// pass drops what a pass of the retention at now is to delete.
func (o *heldOracle) pass(now metric.UnixSec) {
	o.clock.pass(now)
	for _, s := range o.series {
		for i, parts := range s.parts {
			for p, buckets := range parts {
				if o.holds(s, i, p) {
					continue
				}
				delete(parts, p)
				if i == s.coarsest() {
					for _, b := range buckets {
						o.held -= b.events
						o.expired += b.events
					}
				}
			}
		}
	}
}

// forget drops series that no tier holds anything of, but those that may get more.
func (o *heldOracle) forget(alive map[*heldSeries]bool) {
	o.series = slices.DeleteFunc(o.series, func(s *heldSeries) bool { return !alive[s] && s.empty() })
}

func (s *heldSeries) empty() bool {
	for _, parts := range s.parts {
		if len(parts) > 0 {
			return false
		}
	}
	return true
}

// numberHeld is how many series have something in some tier.
func (o *heldOracle) numberHeld() (n int) {
	for _, s := range o.series {
		if !s.empty() {
			n++
		}
	}
	return n
}

// differs says how a bucket differs from what a source yields; "": it does not.
func (b *heldBucket) differs(got bucket.Bucket, start metric.UnixSec) string {
	switch g := got.(type) {
	case *bucket.Gauge:
		want := bucket.Gauge{Count: b.count, Sum: b.sum, Min: b.least, Max: b.most, Last: b.last, At: b.at}
		if b.unsure {
			want.Last, want.At = g.Last, g.At
		}
		if *g != want {
			return fmt.Sprintf("%+v, and should be %+v", *g, want)
		}
	case *bucket.Distribution:
		var want bucket.Distribution
		for v, w := range b.weights {
			want.Observe(v, w)
		}
		if g.Count != b.count || g.Sum != b.sum || g.Min != b.least || g.Max != b.most || string(g.Append(nil, start)) != string(want.Append(nil, start)) {
			return fmt.Sprintf("%+v, and should be %+v", *g, want)
		}
	case *bucket.Set:
		var want bucket.Set
		for m := range b.members {
			want.Insert(bucket.HashMember([]byte(strconv.Itoa(int(m)))))
		}
		if math.Round(g.Estimate()) != float64(len(b.members)) || string(g.Append(nil, start)) != string(want.Append(nil, start)) {
			return fmt.Sprintf("a set of %g members, and should have %d", g.Estimate(), len(b.members))
		}
	}
	return ""
}

// tierSums are the sums of all counters and the counts of the rest, by tier, where all
// tiers that a metric has hold something.
type tierSums map[metric.ID]*[len(metric.Tiers)]float64

// compare reads every bucket of every tier in the source, and returns sentences about
// what differs, at most some, and how many buckets agree.
func (o *heldOracle) compare(src query.Source, until metric.UnixSec) (wrong []string, agree int, err error) {
	sums := make(tierSums)
	byID := make(map[metric.ID][]*heldSeries)
	for _, s := range o.series {
		byID[s.id] = append(byID[s.id], s)
	}
	known := make(map[metric.ID]bool)
	for _, m := range src.Metrics() {
		known[m.ID] = true
	}
	for id := range byID {
		known[id] = true
	}
	for id := range known {
		sel := everySeries(src, id)
		for i := range metric.Tiers {
			c := comparison{o: o, tier: i, series: o.ordered(byID[id], sel.Tags()), seen: make(map[seenBucket]bool)}
			if c.into = sums[id]; c.into == nil {
				c.into = new([len(metric.Tiers)]float64)
				sums[id] = c.into
			}
			c.from = o.allHold(byID[id])
			if err := c.scan(sel, id, until); err != nil {
				return nil, 0, err
			}
			c.missing(byID[id])
			wrong, agree = append(wrong, c.wrong...), agree+len(c.seen)
		}
		if list := byID[id]; len(list) > 0 {
			wrong = append(wrong, unequalSums(id, list[0], sums[id])...)
		}
	}
	return wrong[:min(len(wrong), 8)], agree, nil
}

// unequalSums compares the tiers with one another, whatever the oracle thinks.
func unequalSums(id metric.ID, s *heldSeries, sums *[len(metric.Tiers)]float64) (wrong []string) {
	for i, sum := range sums {
		if s.keep[i] > 0 && sum != sums[s.coarsest()] {
			wrong = append(wrong, fmt.Sprintf("%v: tier %s adds up to %g, and tier %s to %g", id, metric.Tiers[i], sum, metric.Tiers[s.coarsest()], sums[s.coarsest()]))
		}
	}
	return wrong
}

// allHold is the first full hour from which on all tiers of a metric hold everything.
func (o *heldOracle) allHold(list []*heldSeries) metric.UnixSec {
	from := int64(0)
	if len(list) == 0 {
		return 0
	}
	for i, keep := range list[0].keep {
		if keep > 0 {
			from = max(from, (int64(o.clock.shows)-keep)/heldSpans[i]*heldSpans[i])
		}
	}
	return metric.UnixSec(from).Ceil(3600)
}

// ordered puts series in the order of tagsets; nil for those that are not to be there.
func (o *heldOracle) ordered(list []*heldSeries, tags []metric.Tagset) []*heldSeries {
	byTags := make(map[metric.Tagset]*heldSeries)
	for _, s := range list {
		byTags[s.tags] = s
	}
	out := make([]*heldSeries, len(tags))
	for i, ts := range tags {
		out[i] = byTags[ts]
	}
	return out
}

type seenBucket struct {
	s  *heldSeries
	no metric.UnixSec
}

// comparison is that of one metric in one tier.
type comparison struct {
	o      *heldOracle
	tier   int
	series []*heldSeries // as the source has them
	seen   map[seenBucket]bool
	wrong  []string
	from   metric.UnixSec
	into   *[len(metric.Tiers)]float64
}

func (c *comparison) scan(sel query.Selection, id metric.ID, until metric.UnixSec) error {
	ctx, tier := context.Background(), metric.Tiers[c.tier]
	if id.Kind != metric.Counter {
		return sel.ScanBuckets(ctx, tier, 0, until, func(i int, sec metric.UnixSec, got bucket.Bucket) error {
			if b := c.find(i, sec); b != nil {
				if d := b.differs(got, sec); d != "" {
					c.complain(c.series[i], sec, d)
				}
			}
			c.sum(sec, countOf(got))
			return nil
		})
	}
	return sel.Scan(ctx, tier, 0, until, func(i int, start metric.UnixSec, width int64, slots []uint32, sums []float64) error {
		for j, slot := range slots {
			sec := start + metric.UnixSec(int64(slot)*width)
			c.sum(sec, sums[j])
			if b := c.find(i, sec); b != nil && b.sum != sums[j] {
				c.complain(c.series[i], sec, fmt.Sprintf("%g, and should be %g", sums[j], b.sum))
			}
		}
		return nil
	})
}

// countOf is what tiers must agree in; the members of sets do not add up.
func countOf(b bucket.Bucket) float64 {
	switch b := b.(type) {
	case *bucket.Gauge:
		return b.Count
	case *bucket.Distribution:
		return b.Count
	}
	return 0
}

func (c *comparison) sum(sec metric.UnixSec, v float64) {
	if sec >= c.from {
		c.into[c.tier] += v
	}
}

// find returns the bucket that is to be at sec.
func (c *comparison) find(i int, sec metric.UnixSec) *heldBucket {
	s := c.series[i]
	if s == nil {
		c.wrong = append(c.wrong, fmt.Sprintf("tier %s has a bucket at %d of a series that is not to be there", metric.Tiers[c.tier], sec))
		return nil
	}
	no := sec / heldWidths[c.tier]
	b := s.parts[c.tier][int64(sec)/heldSpans[c.tier]][no]
	switch {
	case b == nil:
		c.complain(s, sec, "there, and should not be")
	case c.seen[seenBucket{s, no}]:
		c.complain(s, sec, "there twice")
	default:
		c.seen[seenBucket{s, no}] = true
	}
	return b
}

func (c *comparison) missing(list []*heldSeries) {
	for _, s := range list {
		for _, buckets := range s.parts[c.tier] {
			for no, b := range buckets {
				if !c.seen[seenBucket{s, no}] {
					c.complain(s, no*heldWidths[c.tier], fmt.Sprintf("missing, and should have %d events", b.events))
				}
			}
		}
	}
}

func (c *comparison) complain(s *heldSeries, sec metric.UnixSec, text string) {
	c.wrong = append(c.wrong, fmt.Sprintf("%v{%s} tier %s at %d (%ds before the retention's clock) is %s", s.id, s.tags, metric.Tiers[c.tier], sec, c.o.clock.shows-sec, text))
}

// everySeries selects all of a metric.
func everySeries(src query.Source, id metric.ID) query.Selection {
	sel, err := src.Select(context.Background(), id, nil)
	if err != nil {
		panic(err) // a context that never ends
	}
	return sel
}
