package promql

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cairn/internal/bucket"
	"cairn/internal/clock"
	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
)

// world is a store and open buckets in memory. Its times may be negative.
type world struct {
	now    int64
	policy metric.Retention
	open   *memory
	store  *memory
}

func newWorld(now int64) *world {
	return &world{now: now, policy: metric.DefaultRetention, open: &memory{}, store: &memory{stored: true}}
}

// executor reads the world.
func (w *world) executor() *query.Executor {
	return &query.Executor{Acquire: func() (*query.View, error) {
		return &query.View{
			Open: []query.Source{w.open}, OpenDone: func() {}, Store: w.store, SealedUntil: metric.UnixSec(w.now - 10), Close: func() {},
			Held: func(metric.ID) metric.Held {
				h := w.policy.HeldAt(metric.UnixSec(max(0, w.now)))
				for i := range h.Since {
					if h.Since[i] == 0 {
						h.Since[i] = -1 << 40
					}
				}
				return h
			},
		}, nil
	}}
}

func (w *world) engine() *Engine {
	return New(w.executor(), clock.NewManual(time.Unix(w.now, 0)), slog.New(slog.DiscardHandler))
}

// memory is a query.Source. A stored one has its buckets in the widths of tiers.
type memory struct {
	stored  bool
	metrics []*memoryMetric
}

type memoryMetric struct {
	id     metric.ID
	series []*memorySeries
	byTags map[metric.Tagset]*memorySeries
}

type memorySeries struct {
	tags    metric.Tagset
	sums    map[metric.UnixSec]float64
	buckets map[metric.UnixSec]bucket.Bucket

	mu     sync.Mutex // guards folded
	folded [5]*folded // by tier
}

// folded is the buckets of a tier, ascending.
type folded struct {
	start   metric.UnixSec // of slot 0
	slots   []uint32
	sums    []float64
	buckets []bucket.Bucket
}

func (m *memory) metric(id metric.ID) *memoryMetric {
	for _, x := range m.metrics {
		if x.id == id {
			return x
		}
	}
	return nil
}

func (m *memory) of(id metric.ID, ts metric.Tagset) *memorySeries {
	x := m.metric(id)
	if x == nil {
		x = &memoryMetric{id: id, byTags: map[metric.Tagset]*memorySeries{}}
		m.metrics = append(m.metrics, x)
	}
	s := x.byTags[ts]
	if s == nil {
		s = &memorySeries{tags: ts, sums: map[metric.UnixSec]float64{}, buckets: map[metric.UnixSec]bucket.Bucket{}}
		x.byTags[ts] = s
		x.series = append(x.series, s)
	}
	s.folded = [5]*folded{}
	return s
}

func (m *memory) count(name string, ts metric.Tagset, sec metric.UnixSec, v float64) {
	m.of(metric.ID{Name: name, Kind: metric.Counter}, ts).sums[sec] += v
}

func (m *memory) bucket(id metric.ID, ts metric.Tagset, sec metric.UnixSec) bucket.Bucket {
	s := m.of(id, ts)
	if s.buckets[sec] == nil {
		s.buckets[sec] = bucket.New(id.Kind)
	}
	return s.buckets[sec]
}

func (m *memory) gauge(name string, ts metric.Tagset, sec metric.UnixSec, v float64) {
	m.bucket(metric.ID{Name: name, Kind: metric.Gauge}, ts, sec).(*bucket.Gauge).Observe(v, sec, sec.Milli())
}

func (m *memory) observe(name string, ts metric.Tagset, sec metric.UnixSec, v float64) {
	m.bucket(metric.ID{Name: name, Kind: metric.Distribution}, ts, sec).(*bucket.Distribution).Observe(v, 1)
}

func (m *memory) insert(name string, ts metric.Tagset, sec metric.UnixSec, hash uint64) {
	m.bucket(metric.ID{Name: name, Kind: metric.Set}, ts, sec).(*bucket.Set).Insert(hash)
}

func (s *memorySeries) fold(t metric.Tier) *folded {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folded[t] != nil {
		return s.folded[t]
	}
	w := t.Width()
	f := &folded{}
	var secs []metric.UnixSec
	for sec := range s.sums {
		secs = append(secs, sec)
	}
	for sec := range s.buckets {
		secs = append(secs, sec)
	}
	slices.Sort(secs)
	if len(secs) > 0 {
		f.start = secs[0].Floor(w)
	}
	for _, sec := range secs {
		slot := uint32(int64(sec.Floor(w)-f.start) / w)
		if n := len(f.slots); n == 0 || f.slots[n-1] != slot {
			f.slots, f.sums, f.buckets = append(f.slots, slot), append(f.sums, 0), append(f.buckets, nil)
		}
		n := len(f.slots) - 1
		f.sums[n] += s.sums[sec]
		if b := s.buckets[sec]; b != nil {
			if f.buckets[n] == nil {
				f.buckets[n] = bucket.New(b.Kind())
			}
			f.buckets[n].Merge(b)
		}
	}
	s.folded[t] = f
	return f
}

func (f *folded) part(w int64, from, to metric.UnixSec) (lo, hi int) {
	at := func(sec metric.UnixSec) int {
		i, _ := slices.BinarySearchFunc(f.slots, sec, func(slot uint32, sec metric.UnixSec) int {
			return int(int64(f.start) + int64(slot)*w - int64(sec))
		})
		return i
	}
	return at(from), at(to)
}

func (m *memory) Select(_ context.Context, id metric.ID, match matcher.List) (query.Selection, error) {
	sel := &memorySelection{m: m}
	if x := m.metric(id); x != nil {
		for _, s := range x.series {
			if match.Match(s.tags) {
				sel.series, sel.tags = append(sel.series, s), append(sel.tags, s.tags)
			}
		}
	}
	return sel, nil
}

func (m *memory) Part(metric.ID, int, int) query.Selection { panic("BUG: a query takes all") }

func (m *memory) Kinds(name string) (kinds []metric.Kind) {
	for _, k := range metric.Kinds {
		if m.metric(metric.ID{Name: name, Kind: k}) != nil {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

func (m *memory) IDs() (ids []metric.ID) {
	for _, x := range m.metrics {
		ids = append(ids, x.id)
	}
	return ids
}

func (m *memory) TagCounts(id metric.ID, visit func(metric.Tag, int)) {
	if x := m.metric(id); x != nil {
		for _, s := range x.series {
			for t := range s.tags.All() {
				visit(t, 1)
			}
		}
	}
}

func (m *memory) Metrics() (all []query.MetricInfo) {
	for _, x := range m.metrics {
		info := query.MetricInfo{ID: x.id, Series: len(x.series)}
		for _, s := range x.series {
			for sec := range s.sums {
				info.LastSeen = max(info.LastSeen, sec)
			}
			for sec := range s.buckets {
				info.LastSeen = max(info.LastSeen, sec)
			}
		}
		all = append(all, info)
	}
	return all
}

type memorySelection struct {
	m      *memory
	series []*memorySeries
	tags   []metric.Tagset
}

func (s *memorySelection) Last() metric.UnixSec { return metric.Never }

func (s *memorySelection) Tags() []metric.Tagset { return s.tags }

func (s *memorySelection) Slice(i, j int) query.Selection {
	return &memorySelection{s.m, s.series[i:j], s.tags[i:j]}
}

func (s *memorySelection) tier(t metric.Tier) metric.Tier {
	if s.m.stored {
		return t
	}
	return metric.Tier1s
}

func (s *memorySelection) Scan(ctx context.Context, t metric.Tier, from, to metric.UnixSec, yield query.Yield) error {
	w := s.tier(t).Width()
	for i, x := range s.series {
		f := x.fold(s.tier(t))
		if lo, hi := f.part(w, from, to); lo < hi {
			if err := yield(i, f.start, w, f.slots[lo:hi], f.sums[lo:hi]); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (s *memorySelection) ScanBuckets(ctx context.Context, t metric.Tier, from, to metric.UnixSec, yield query.YieldBucket) error {
	w := s.tier(t).Width()
	for i, x := range s.series {
		f := x.fold(s.tier(t))
		lo, hi := f.part(w, from, to)
		for j := lo; j < hi; j++ {
			if err := yield(i, f.start+metric.UnixSec(int64(f.slots[j])*w), f.buckets[j]); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func tagset(keyValues ...string) metric.Tagset {
	var tags []metric.Tag
	for i := 0; i < len(keyValues); i += 2 {
		tags = append(tags, metric.Tag{Key: keyValues[i], Value: keyValues[i+1]})
	}
	return metric.NewTagset(tags)
}
