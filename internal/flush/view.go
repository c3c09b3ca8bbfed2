package flush

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"sync/atomic"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
	"cairn/tsdb"
)

// ErrClosed is returned by View after Close.
var ErrClosed = errors.New("cairn is shutting down")

// sharedSnapshot closes a snapshot when the last query that reads it is done.
type sharedSnapshot struct {
	*tsdb.Snapshot
	users atomic.Int64
}

func share(s *tsdb.Snapshot) *sharedSnapshot {
	sh := &sharedSnapshot{Snapshot: s}
	sh.users.Store(1)
	return sh
}

func (s *sharedSnapshot) release(log *slog.Logger) {
	if s.users.Add(-1) == 0 {
		if err := s.Close(); err != nil {
			log.Error("close a snapshot", "error", err)
		}
	}
}

// View returns all buckets at this instant. The caller must close it; until
// OpenDone it keeps flushes from moving buckets.
func (p *Pump) View() (*query.View, error) {
	p.view.RLock()
	if p.closed {
		p.view.RUnlock()
		return nil, ErrClosed
	}
	snap := p.snapshot
	snap.users.Add(1)
	version, changes := p.version, p.changes
	store := &storeSource{p: p, snap: snap.Snapshot}
	live := &openSource{p: p, store: store, read: p.agg.Open, live: true}
	frozen := &openSource{p: p, store: store, read: func(want []uint32, wanted []agg.Handle, from, to metric.UnixSec, v agg.Visitor) {
		p.frozen.Read(want, wanted, from, to, v)
	}}
	open := true
	done := func() {
		if open {
			open = false
			p.view.RUnlock()
		}
	}
	closed := false
	return &query.View{
		Open: []query.Source{live, frozen}, OpenDone: done, Join: joinOpen,
		Store: store, SealedUntil: p.watermark(), Incomplete: p.incomplete(), Version: version,
		SameBefore: func(id metric.ID, since uint64) metric.UnixSec { return sameBefore(changes, id, since) },
		Held:       func(id metric.ID) metric.Held { return snap.HeldOf(id.Name) },
		Close: func() {
			done()
			if !closed {
				closed = true
				snap.release(p.o.Log)
			}
		},
	}, nil
}

func (p *Pump) incomplete() string {
	if p.holding() {
		return "the journal is being replayed after a crash: the last minutes may be incomplete until that is done"
	}
	if n := p.store.Damaged(); n > 0 {
		return fmt.Sprintf("%d chunks of the store are damaged, and what cannot be read of them is missing; the server's log names them", n)
	}
	return ""
}

// Hot is agg.Aggregator.Hot, while no flush takes away the lists that it walks.
func (p *Pump) Hot(n int, from, to metric.UnixSec) (top []agg.Hot, all uint64) {
	p.view.RLock()
	defer p.view.RUnlock()
	return p.agg.Hot(n, from, to)
}

// notInStore returns those handles that were not flushed yet. The caller holds
// the view's lock.
func (p *Pump) notInStore(handles []agg.Handle) []agg.Handle {
	var out []agg.Handle
	for _, h := range handles {
		if int(h) >= len(p.inStore) || !p.inStore[h] {
			out = append(out, h)
		}
	}
	return out
}

// openSource is the query.Source of buckets in memory.
type openSource struct {
	p     *Pump
	store *storeSource // of the same view
	read  func(want []uint32, wanted []agg.Handle, from, to metric.UnixSec, v agg.Visitor)
	live  bool // tells about metrics; the frozen buckets are of the same ones
}

// Select asks the store's index for the series that it has; the others, which are new, are
// asked one by one.
func (s *openSource) Select(ctx context.Context, id metric.ID, match matcher.List) (query.Selection, error) {
	f, err := s.store.open(ctx, id, match)
	if err != nil {
		return nil, err
	}
	return &openSelection{s: s, tags: f.tags, handles: f.handles}, nil
}

func (s *openSource) Part(id metric.ID, from, n int) query.Selection {
	handles := s.p.agg.Registry.Handles(id)
	handles = handles[min(from, len(handles)):min(from+n, len(handles))]
	return &openSelection{s: s, tags: s.p.agg.Registry.Tags(handles), handles: handles}
}

func (s *openSource) IDs() []metric.ID {
	if !s.live {
		return nil
	}
	return s.p.agg.Registry.Metrics()
}

func (s *openSource) TagCounts(id metric.ID, visit func(t metric.Tag, series int)) {
	if !s.live {
		return
	}
	reg := s.p.agg.Registry
	for _, ts := range reg.Tags(s.p.notInStore(reg.Handles(id))) {
		// It may be in the store from an earlier run.
		if _, ok := s.p.store.Lookup(metric.Series{ID: id, Tags: ts}); ok {
			continue
		}
		for t := range ts.All() {
			visit(t, 1)
		}
	}
}

func (s *openSource) Kinds(name string) []metric.Kind {
	return kindsOf(name, func(id metric.ID) bool { return len(s.p.agg.Registry.Handles(id)) > 0 })
}

func kindsOf(name string, known func(metric.ID) bool) []metric.Kind {
	var out []metric.Kind
	for _, k := range metric.Kinds {
		if known(metric.ID{Name: name, Kind: k}) {
			out = append(out, k)
		}
	}
	return out
}

// Metrics counts the series that the store does not have yet.
func (s *openSource) Metrics() []query.MetricInfo {
	if !s.live {
		return nil
	}
	reg := s.p.agg.Registry
	ids := reg.Metrics()
	seen := s.p.agg.LastSeen()
	out := make([]query.MetricInfo, len(ids))
	folded := make(map[metric.ID]bool)
	for _, id := range reg.Overflowed() { // may be all of them
		folded[id] = true
	}
	for i, id := range ids {
		unknown := s.p.notInStore(reg.Handles(id))
		out[i] = query.MetricInfo{ID: id, LastSeen: seen[i], Overflow: folded[id]}
		for _, ts := range reg.Tags(unknown) {
			// It may be in the store from an earlier run.
			if _, ok := s.p.store.Lookup(metric.Series{ID: id, Tags: ts}); !ok {
				out[i].Series++
			}
		}
	}
	return out
}

type openSelection struct {
	s       *openSource
	tags    []metric.Tagset
	handles []agg.Handle
}

func (sel *openSelection) Tags() []metric.Tagset { return sel.tags }

func (sel *openSelection) Slice(i, j int) query.Selection {
	return &openSelection{sel.s, sel.tags[i:j], sel.handles[i:j]}
}

func (sel *openSelection) Last() metric.UnixSec { return metric.Never }

func (sel *openSelection) Scan(ctx context.Context, _ metric.Tier, from, to metric.UnixSec, yield query.Yield) (err error) {
	slot, sums := []uint32{0}, []float64{0}
	sel.visit(from, to, agg.Visitor{Sum: func(i uint32, sec metric.UnixSec, sum float64) {
		if err == nil {
			sums[0] = sum
			err = yield(int(i), sec, 1, slot, sums)
		}
	}})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func (sel *openSelection) ScanBuckets(ctx context.Context, _ metric.Tier, from, to metric.UnixSec, yield query.YieldBucket) (err error) {
	sel.visit(from, to, agg.Visitor{Bucket: func(i uint32, sec metric.UnixSec, b bucket.Bucket) {
		if err == nil {
			err = yield(int(i), sec, b)
		}
	}})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func (sel *openSelection) visit(from, to metric.UnixSec, v agg.Visitor) {
	if len(sel.handles) == 0 {
		return
	}
	want := make([]uint32, slices.Max(sel.handles)+1)
	for i, h := range sel.handles {
		want[h] = uint32(i + 1)
	}
	wanted := sel.handles
	if !slices.IsSorted(wanted) { // of several metrics
		wanted = slices.Sorted(slices.Values(wanted))
	}
	sel.s.read(want, wanted, from, to, v)
}

// joinOpen is query.View.Join.
func joinOpen(all []query.Selection) query.Selection {
	var out openSelection
	for _, one := range all {
		sel := one.(*openSelection)
		out.s = sel.s
		out.tags = append(out.tags, sel.tags...)
		out.handles = append(out.handles, sel.handles...)
	}
	return &out
}

// storeSource is the query.Source of a snapshot.
type storeSource struct {
	p    *Pump
	snap *tsdb.Snapshot

	// What was selected last: a view's sources are asked for the same one after another.
	id    metric.ID
	match matcher.List
	last  []tsdb.Selected
	found *found // nil: not looked for yet
	known bool
}

// selected returns the stored series that match.
func (s *storeSource) selected(ctx context.Context, id metric.ID, match matcher.List) ([]tsdb.Selected, error) {
	if s.known && s.id == id && slices.Equal(s.match, match) {
		return s.last, nil
	}
	series, err := s.p.store.SelectNow(ctx, id, match)
	if err != nil {
		return nil, err
	}
	s.id, s.match, s.last, s.found, s.known = id, match, series, nil, true
	return series, nil
}

// maxNewSteps bounds what regular expressions do with series of which the store's index does not know
// yet, while the view keeps flushes waiting: a second of the slowest ones.
const maxNewSteps = 100 << 20

// open returns what memory may have of the series that match.
func (s *storeSource) open(ctx context.Context, id metric.ID, match matcher.List) (*found, error) {
	series, err := s.selected(ctx, id, match)
	if err != nil || s.found != nil {
		return s.found, err
	}
	f := &found{}
	for i := range series {
		if h, ok := s.p.places.of(series[i].Ref); ok {
			f.handles = append(f.handles, h)
			f.tags = append(f.tags, series[i].Tags)
		}
	}
	reg := s.p.agg.Registry
	others := s.p.places.others(reg.Handles(id))
	steps, done := 0, 0
	for _, m := range match {
		steps += m.Steps()
	}
	for i, ts := range reg.Tags(others) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if done += steps * len(ts); done > maxNewSteps {
			return nil, &query.LimitError{Sentence: fmt.Sprintf("this query's regular expressions are too slow for the %d series of %q that are new; ask again in a minute, or with shorter expressions", len(others), id.Name)}
		}
		if match.Match(ts) {
			f.handles = append(f.handles, others[i])
			f.tags = append(f.tags, ts)
		}
	}
	if !slices.IsSorted(f.handles) {
		sort.Sort(f)
	}
	s.found = f
	return f, nil
}

func (s *storeSource) Select(ctx context.Context, id metric.ID, match matcher.List) (query.Selection, error) {
	series, err := s.selected(ctx, id, match)
	if err != nil {
		return nil, err
	}
	return s.selection(id, series), nil
}

func (s *storeSource) Part(id metric.ID, from, n int) query.Selection {
	return s.selection(id, s.p.store.Part(id, from, n))
}

func (s *storeSource) selection(id metric.ID, series []tsdb.Selected) *storeSelection {
	sel := &storeSelection{snap: s.snap, kind: id.Kind, series: series, last: s.p.store.LastSeen(id)}
	sel.tags = make([]metric.Tagset, len(sel.series))
	for i := range sel.series {
		sel.tags[i] = sel.series[i].Tags
	}
	return sel
}

func (s *storeSource) IDs() []metric.ID { return s.p.store.IDs() }

func (s *storeSource) TagCounts(id metric.ID, visit func(t metric.Tag, series int)) {
	s.p.store.TagCounts(id, visit)
}

func (s *storeSource) Kinds(name string) []metric.Kind { return kindsOf(name, s.p.store.Known) }

func (s *storeSource) Metrics() []query.MetricInfo {
	stored := s.p.store.Metrics()
	out := make([]query.MetricInfo, len(stored))
	for i, m := range stored {
		out[i] = query.MetricInfo{ID: m.ID, Series: m.Series, LastSeen: m.LastSeen, Overflow: m.Overflow}
	}
	return out
}

type storeSelection struct {
	snap   *tsdb.Snapshot
	kind   metric.Kind
	series []tsdb.Selected
	tags   []metric.Tagset
	last   metric.UnixSec // behind it the metric has nothing
}

func (sel *storeSelection) Tags() []metric.Tagset { return sel.tags }

func (sel *storeSelection) Slice(i, j int) query.Selection {
	return &storeSelection{sel.snap, sel.kind, sel.series[i:j], sel.tags[i:j], sel.last}
}

func (sel *storeSelection) Last() metric.UnixSec { return sel.last }

func (sel *storeSelection) Scan(ctx context.Context, t metric.Tier, from, to metric.UnixSec, yield query.Yield) error {
	return sel.snap.Scan(ctx, sel.series, t, from, to, func(i int, start metric.UnixSec, slots []uint32, sums []float64) error {
		return yield(i, start, t.Width(), slots, sums)
	})
}

func (sel *storeSelection) ScanBuckets(ctx context.Context, t metric.Tier, from, to metric.UnixSec, yield query.YieldBucket) error {
	return sel.snap.ScanBuckets(ctx, sel.series, sel.kind, t, from, to, yield)
}
