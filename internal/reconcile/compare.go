package reconcile

import (
	"context"
	"maps"
	"slices"

	"cairn/internal/bucket"
	"cairn/internal/metric"
	"cairn/tsdb"
)

// comparison compares one tier's buckets in [from, to) with the cells.
type comparison struct {
	r        *run
	t        metric.Tier
	from, to metric.UnixSec
	seen     map[metric.ID]struct{} // metrics of which something was compared

	stored  stored
	visited map[uint32]struct{} // places of metrics that have a chunk in the partition
}

// run goes through the partitions in which the store or the journal has something.
func (c *comparison) run(ctx context.Context) error {
	expected := c.r.cells.partitions(c.t, c.from, c.to)
	p, _ := c.t.Place(c.from)
	last, _ := c.t.Place(c.to - 1)
	for {
		next, ok, err := c.r.o.Snapshot.NextPartition(c.t, p)
		if err != nil {
			return err
		}
		if !ok {
			next = noPartition
		}
		for len(expected) > 0 && expected[0] < p {
			expected = expected[1:]
		}
		if len(expected) > 0 {
			next, ok = min(next, expected[0]), true
		}
		if !ok || next > last {
			return nil
		}
		if err := c.partition(ctx, next); err != nil {
			return err
		}
		if next == noPartition {
			return nil
		}
		p = next + 1
	}
}

// partition compares all metrics of a partition: those that the store has, in the
// order of their numbers, and then those that it should have.
func (c *comparison) partition(ctx context.Context, p uint32) error {
	c.visited = make(map[uint32]struct{})
	current := uint32(0) // number of the metric whose chunks are being read
	err := c.r.o.Snapshot.WalkChunks(ctx, c.t, p, 0, tsdb.AllMetrics, func(ch *tsdb.Chunk) error {
		if err := c.r.pace(ctx); err != nil {
			return err
		}
		if ch.Metric != current {
			c.metric(current, p)
			current = ch.Metric
			c.stored.reset(c.r.idOf(current).Kind)
		}
		return c.stored.add(ch, c.from, c.to)
	})
	if err != nil {
		return err
	}
	c.metric(current, p)
	for i, id := range c.r.cells.ids {
		if _, ok := c.visited[uint32(i)]; !ok {
			c.stored.reset(id.Kind)
			c.buckets(id, c.r.cells.list[i], p)
		}
		if err := c.r.pace(ctx); err != nil {
			return err
		}
	}
	return nil
}

// idOf returns the metric with a number. One that the index does not have is taken for a
// counter: an error of the store, whose buckets are in no cell.
func (r *run) idOf(no uint32) metric.ID {
	if no == 0 || int(no) > len(r.ids) || !r.ids[no-1].Kind.Valid() {
		return metric.ID{Name: "a metric that the index does not have", Kind: metric.Counter}
	}
	return r.ids[no-1]
}

// metric compares the metric with number no, all of whose chunks were read.
func (c *comparison) metric(no, p uint32) {
	if no == 0 {
		return
	}
	id := c.r.idOf(no)
	i, ok := c.r.cells.places[id]
	if !ok {
		c.buckets(id, &column{}, p)
		return
	}
	c.visited[i] = struct{}{}
	c.buckets(id, c.r.cells.list[i], p)
}

// buckets compares the buckets of a metric in a partition with what is in c.stored.
func (c *comparison) buckets(id metric.ID, col *column, p uint32) {
	start := c.t.Start(p)
	secs := col.between(max(start, c.from), min(start+metric.UnixSec(c.t.Span()), c.to))
	since, lost := c.r.heldOf(id).From(c.t), c.lostIn(col, start)
	c.r.report.Checked.Deleted += uint64(len(lost))
	for len(secs) > 0 {
		at := secs[0].Floor(c.t.Width())
		n, _ := slices.BinarySearch(secs, at+metric.UnixSec(c.t.Width()))
		if _, gone := lost[at]; at < since {
			c.r.report.Checked.Expired++
		} else if !gone {
			c.bucket(id, col, at, secs[:n])
		}
		secs = secs[n:]
	}
	for _, at := range c.stored.left() {
		if _, gone := lost[at]; at >= since && !gone {
			c.bucket(id, col, at, nil)
		}
	}
}

// lostIn returns the buckets of a metric, in the partition that begins at start, of which
// something may have been deleted.
func (c *comparison) lostIn(col *column, start metric.UnixSec) map[metric.UnixSec]struct{} {
	if len(col.lost) == 0 {
		return nil
	}
	out := make(map[metric.UnixSec]struct{})
	for sec := range col.lost {
		if at := sec.Floor(c.t.Width()); at >= max(start, c.from) && at < min(start+metric.UnixSec(c.t.Span()), c.to) {
			out[at] = struct{}{}
		}
	}
	return out
}

// bucket compares one bucket, which is what the cells of secs make together.
func (c *comparison) bucket(id metric.ID, col *column, at metric.UnixSec, secs []metric.UnixSec) {
	c.seen[id] = struct{}{}
	c.r.report.Checked.Buckets++
	if id.Kind == metric.Counter {
		var expected amount
		for _, sec := range secs {
			expected.merge(col.sums[sec])
		}
		found, ok := c.stored.sums[at]
		delete(c.stored.sums, at)
		if !expected.same(found) || ok != (len(secs) > 0) {
			c.r.wrong.addAll(id, c.t, at, []unequal{{"sum", expected.sum, found.sum}})
		}
		return
	}
	expected := &figures{}
	for _, sec := range secs {
		expected.merge(col.others[sec])
	}
	found := c.stored.others[at]
	if found == nil {
		found = &figures{}
	}
	delete(c.stored.others, at)
	c.r.wrong.addAll(id, c.t, at, expected.compare(id.Kind, found))
}

// stored is what chunks of one metric hold, by bucket.
type stored struct {
	sums   map[metric.UnixSec]amount
	others map[metric.UnixSec]*figures
	b      [metric.Set + 1]bucket.Bucket // scratch, by kind
	kind   metric.Kind
}

func (s *stored) reset(k metric.Kind) {
	if s.sums == nil {
		s.sums, s.others = make(map[metric.UnixSec]amount), make(map[metric.UnixSec]*figures)
	}
	clear(s.sums)
	clear(s.others)
	s.kind = k
}

// add adds the buckets of a chunk that lie in [from, to).
func (s *stored) add(ch *tsdb.Chunk, from, to metric.UnixSec) error {
	return s.fold(ch, 1, from, to)
}

// fold adds the buckets of a chunk that lie in [from, to), in buckets of a width.
func (s *stored) fold(ch *tsdb.Chunk, width int64, from, to metric.UnixSec) error {
	if s.kind == metric.Counter {
		return ch.Sums(func(sec metric.UnixSec, v float64) {
			if sec >= from && sec < to {
				sec = sec.Floor(width)
				a := s.sums[sec]
				a.add(v)
				s.sums[sec] = a
			}
		})
	}
	if s.b[s.kind] == nil {
		s.b[s.kind] = bucket.New(s.kind)
	}
	b := s.b[s.kind]
	return ch.Buckets(b, func(sec metric.UnixSec) {
		if sec >= from && sec < to {
			sec = sec.Floor(width)
			f := s.others[sec]
			if f == nil {
				f = &figures{}
				s.others[sec] = f
			}
			f.take(b)
		}
	})
}

// left returns the buckets that are there, ascending.
func (s *stored) left() []metric.UnixSec {
	return slices.Sorted(concat(maps.Keys(s.sums), maps.Keys(s.others)))
}
