package tsdb

import (
	"context"
	"fmt"
	"math/bits"

	"cairn/internal/metric"
)

// Held is what a tier holds, of all metrics or of one.
type Held struct {
	Series     uint64
	Chunks     uint64
	Samples    uint64 // buckets with an event
	Raw        uint64 // bytes of the chunks' keys and values, before blocks are compressed
	Partitions uint64
	// The first seconds of the oldest and of the newest bucket; without samples they
	// mean nothing.
	Oldest, Newest metric.UnixSec

	last uint32 // partition + 1 that was counted
}

func (h *Held) add(partition uint32, raw int, c *content) {
	h.Chunks++
	h.Raw += uint64(raw)
	if h.last != partition+1 {
		h.last = partition + 1
		h.Partitions++
	}
	if c.samples == 0 {
		return
	}
	if h.Samples == 0 || c.first < h.Oldest {
		h.Oldest = c.first
	}
	if h.Samples == 0 || c.last > h.Newest {
		h.Newest = c.last
	}
	h.Samples += c.samples
}

// MetricHeld is what is stored of one metric.
type MetricHeld struct {
	ID     metric.ID
	Series uint64 // with a chunk in any tier
	Tiers  [len(metric.Tiers)]Held
}

// Content is what a walk over all chunks has found.
type Content struct {
	Format  uint64 // of the store; 0: it was not asked for
	Series  uint64 // with a chunk in any tier
	Tiers   [len(metric.Tiers)]Held
	Metrics []MetricHeld // those with a chunk, by number
	Usage   Usage
	// Damaged has a sentence for each damaged place, up to maxSentences; the count of all
	// is DamagedTotal.
	Damaged      []string
	DamagedTotal uint64
}

// maxSentences is how many sentences are kept: a broken disk has no more to tell.
const maxSentences = 100

func (c *Content) damaged(err error) {
	if c.DamagedTotal++; c.DamagedTotal <= maxSentences {
		c.Damaged = append(c.Damaged, err.Error())
	}
}

// Inspect reads all chunks once, and measures the files. What is damaged is told and
// left out; only ctx, and files that cannot be measured, end it early.
func (a *Archive) Inspect(ctx context.Context) (*Content, error) {
	sn := a.Snapshot()
	c, err := sn.Inspect(ctx, func(ctx context.Context) error { return ctx.Err() })
	if err == nil {
		c.Format = a.format
		c.Usage, err = a.usage()
	}
	if e := sn.Close(); err == nil && e != nil {
		err = fmt.Errorf("read the store: %w", e)
	}
	return c, err
}

// Inspect reads all chunks once, without the files. step is called after each, and ends
// the walk by an error.
//
// Memory: some hundred bytes a metric, and 5 bits a series.
func (sn *Snapshot) Inspect(ctx context.Context, step func(context.Context) error) (*Content, error) {
	w := inspection{step: step, out: new(Content), byNo: map[uint32]*MetricHeld{}}
	err := sn.WalkMetrics(ctx, func(no uint32, id metric.ID) error {
		w.byNo[no] = &MetricHeld{ID: id}
		w.order = append(w.order, no)
		return nil
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		w.out.damaged(fmt.Errorf("the list of metrics: %w", err))
	}
	for _, t := range metric.Tiers {
		if err := w.tier(ctx, sn, t); err != nil {
			return nil, err
		}
	}
	for _, no := range w.order {
		if m := w.byNo[no]; m.Series > 0 {
			w.out.Metrics = append(w.out.Metrics, *m)
		}
	}
	w.out.Series = w.any.n
	return w.out, nil
}

type inspection struct {
	step  func(context.Context) error
	out   *Content
	byNo  map[uint32]*MetricHeld
	order []uint32  // numbers, ascending
	any   seriesSet // of series, in any tier
	seen  seriesSet // in this tier
	ended error     // what step said
}

// tier walks one partition after the other. Where one cannot be read to its end, the
// rest of it is lost to this walk, and the next one is read.
func (w *inspection) tier(ctx context.Context, sn *Snapshot, t metric.Tier) error {
	w.seen = seriesSet{}
	partition, ok, err := sn.NextPartition(t, 0)
	for ok && err == nil {
		err = sn.WalkChunks(ctx, t, partition, 0, AllMetrics, func(c *Chunk) error {
			w.chunk(c)
			w.ended = w.step(ctx)
			return w.ended
		})
		if w.ended != nil {
			return w.ended
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			w.out.damaged(fmt.Errorf("tier %s, partition %d (key %x) cannot be read to its end: %w", t, partition, appendChunkKey(nil, t, partition, 0, 0)[:5], err))
		}
		partition, ok, err = sn.PartitionAfter(t, partition)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		w.out.damaged(fmt.Errorf("tier %s cannot be read to its end: %w", t, err))
	}
	w.out.Tiers[t-1].Series = w.seen.n
	return nil
}

func (w *inspection) chunk(c *Chunk) {
	m := w.byNo[c.Metric]
	if m == nil {
		w.out.damaged(fmt.Errorf("chunk %x is of metric %d, which the store does not know", c.key, c.Metric))
		return
	}
	content, err := c.content(m.ID.Kind)
	if err != nil {
		w.out.damaged(err)
	}
	raw := len(c.key) + len(c.run)
	of := &m.Tiers[c.Tier-1]
	of.add(c.Partition, raw, &content)
	w.out.Tiers[c.Tier-1].add(c.Partition, raw, &content)
	no := seriesOfKey(c.key)
	if w.seen.add(no) {
		of.Series++
	}
	if w.any.add(no) {
		m.Series++
	}
}

// content is what is in a chunk, up to where it is damaged.
type content struct {
	samples     uint64
	first, last metric.UnixSec // first seconds of its buckets
}

func (c *Chunk) content(k metric.Kind) (out content, err error) {
	visit := func(sec metric.UnixSec) {
		if out.samples == 0 {
			out.first = sec
		}
		out.samples++
		out.last = sec
	}
	if k == metric.Counter {
		err = c.Sums(func(sec metric.UnixSec, _ float64) { visit(sec) })
		return out, err
	}
	err = c.dec.Buckets(c.run, k, c.Tier.Slots(), func(slot uint32, _ []byte) error {
		visit(c.second(slot))
		return nil
	})
	if err != nil {
		err = fmt.Errorf("chunk %x: %w", c.key, err)
	}
	if bad, e := c.Damage(); err == nil && bad > 0 {
		err = e
		if e == nil {
			err = fmt.Errorf("chunk %x: %d operands cannot be read, and are kept beside it", c.key, bad)
		}
	}
	return out, err
}

// seriesSet is a set of series' numbers: a bit each, in pages of those that are near one
// another.
type seriesSet struct {
	pages map[uint32]*[1 << 10]uint64 // by number / 65536
	n     uint64
}

// add reports whether no was not in it.
func (s *seriesSet) add(no uint32) bool {
	p := s.pages[no>>16]
	if p == nil {
		if s.pages == nil {
			s.pages = map[uint32]*[1 << 10]uint64{}
		}
		p = new([1 << 10]uint64)
		s.pages[no>>16] = p
	}
	word, bit := &p[no>>6&(1<<10-1)], uint64(1)<<(no&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	s.n++
	return true
}

// CompactDir writes all that a data dir's store holds into tables once, the smallest
// that they get. Nobody may use it meanwhile.
func CompactDir(ctx context.Context, dir string, o Options) error {
	if err := hasStore(dir, &o); err != nil {
		return err
	}
	s, err := Open(dir, o)
	if err != nil {
		return err
	}
	if err = s.db.Flush(); err == nil {
		err = s.db.Compact(ctx, []byte{0}, []byte{0xff}, true)
	}
	if e := s.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("data dir %q: compact the store: %w", dir, err)
	}
	return nil
}

// Share returns the part of a tier's bytes that chunks of raw bytes have, of all raw bytes
// in it.
func Share(bytes, raw, all uint64) uint64 {
	if all == 0 {
		return 0
	}
	hi, lo := bits.Mul64(bytes, min(raw, all))
	q, _ := bits.Div64(hi, lo, all)
	return q
}
