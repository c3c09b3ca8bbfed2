package promql

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"cairn/internal/bucket"
	"cairn/internal/metric"
	"cairn/query"
)

// series is one storage.Series: a value at first, first + step, ...
type series struct {
	labels      labels.Labels
	first, step int64     // ms
	values      []float64 // NaN: none
	// histograms is there in place of values; nil: none.
	histograms []*histogram.FloatHistogram
	// stale says that a place without a value ends what was before it.
	stale bool
}

// Labels implements storage.Series.
func (s *series) Labels() labels.Labels { return s.labels }

// Iterator implements storage.Series.
func (s *series) Iterator(again chunkenc.Iterator) chunkenc.Iterator {
	if it, ok := again.(*iterator); ok {
		*it = iterator{s: s, at: -1}
		return it
	}
	return &iterator{s: s, at: -1}
}

func (s *series) len() int { return max(len(s.values), len(s.histograms)) }

type iterator struct {
	s  *series
	at int
}

// Next implements chunkenc.Iterator.
func (it *iterator) Next() chunkenc.ValueType {
	it.at++
	return it.here()
}

// here returns the type of what is at the place, or moves on to where there is something.
func (it *iterator) here() chunkenc.ValueType {
	if h := it.s.histograms; h != nil {
		for ; it.at < len(h); it.at++ {
			switch {
			case h[it.at] != nil:
				return chunkenc.ValFloatHistogram
			case it.s.stale:
				return chunkenc.ValFloat // a float ends a histogram, too
			}
		}
		return chunkenc.ValNone
	}
	v := it.s.values
	for ; it.at < len(v); it.at++ {
		if it.s.stale || !math.IsNaN(v[it.at]) {
			return chunkenc.ValFloat
		}
	}
	return chunkenc.ValNone
}

// millis is an instant in milliseconds of Unix time. It keeps go vet from taking an
// iterator for an io.Seeker.
type millis = int64

// Seek implements chunkenc.Iterator.
func (it *iterator) Seek(t millis) chunkenc.ValueType {
	if it.at >= it.s.len() {
		return chunkenc.ValNone
	}
	to := 0
	if t > it.s.first {
		to = int(min((t-it.s.first+it.s.step-1)/it.s.step, int64(it.s.len())))
	}
	it.at = max(it.at, to)
	return it.here()
}

// AtT implements chunkenc.Iterator.
func (it *iterator) AtT() int64 { return it.s.first + int64(it.at)*it.s.step }

// At implements chunkenc.Iterator.
func (it *iterator) At() (int64, float64) {
	v := math.NaN()
	if it.s.histograms == nil {
		v = it.s.values[it.at]
	}
	if math.IsNaN(v) {
		v = math.Float64frombits(value.StaleNaN)
	}
	return it.AtT(), v
}

// AtHistogram implements chunkenc.Iterator.
func (it *iterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic("BUG: histograms have floating counts here")
}

// AtFloatHistogram implements chunkenc.Iterator.
func (it *iterator) AtFloatHistogram(into *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	h := it.s.histograms[it.at]
	if into == nil {
		return it.AtT(), h.Copy()
	}
	h.CopyTo(into)
	return it.AtT(), into
}

// AtST implements chunkenc.Iterator: buckets do not tell when they began.
func (it *iterator) AtST() int64 { return 0 }

// Err implements chunkenc.Iterator.
func (it *iterator) Err() error { return nil }

// set is a storage.SeriesSet of what has been read.
type set struct {
	all []*series
	at  int
}

// Next implements storage.SeriesSet.
func (s *set) Next() bool {
	s.at++
	return s.at < len(s.all)
}

// At implements storage.SeriesSet.
func (s *set) At() storage.Series { return s.all[s.at] }

// Err implements storage.SeriesSet.
func (s *set) Err() error { return nil }

// fill reads what the store holds, and makes the series of a plan, each labelset once.
func (p *plan) fill(ctx context.Context) ([]*series, error) {
	var out []*series
	for _, r := range p.reads {
		f, err := r.prepared.Frame()
		if err != nil {
			return nil, err
		}
		some, err := r.series(ctx, f)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return p.distinct(out), nil
}

// distinct sorts series, and adds those up that have the same labels: tags that differ may
// look alike, such as {a: "b,c"} and {a: [b, c]}.
func (p *plan) distinct(all []*series) []*series {
	slices.SortStableFunc(all, func(a, b *series) int { return labels.Compare(a.labels, b.labels) })
	out := all[:0]
	for _, s := range all {
		if n := len(out); n > 0 && labels.Equal(out[n-1].labels, s.labels) && out[n-1].addsTo(s) {
			out[n-1] = s
			continue
		}
		out = append(out, s)
	}
	return out
}

// addsTo adds s to another series of the same labels; false: they are not of a kind.
func (s *series) addsTo(into *series) bool {
	if s.first != into.first || s.step != into.step || s.len() != into.len() || (s.histograms == nil) != (into.histograms == nil) {
		return false
	}
	if s.values != nil {
		into.values = slices.Clone(into.values) // it may be the frame's
	}
	for i, v := range s.values {
		into.values[i] = plus(into.values[i], v)
	}
	for i, h := range s.histograms {
		switch {
		case h == nil:
		case into.histograms[i] == nil:
			into.histograms[i] = h
		default:
			if _, _, _, err := into.histograms[i].Add(h); err != nil {
				return false
			}
		}
	}
	return true
}

// series makes those of one read.
func (r *read) series(ctx context.Context, f *query.Frame) ([]*series, error) {
	if c := r.class; c.kind == metric.Distribution && (c.part == buckets || c.part == whole) {
		return r.histograms(ctx, f)
	}
	var of labeler
	out := make([]*series, 0, len(f.Groups))
	if err := r.made(len(f.Groups)); err != nil {
		return nil, err
	}
	for _, g := range f.Groups {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !r.filters.pass(g.Tags) {
			continue
		}
		s := r.empty(of.of(r.nameOf(g), g.Tags, ""))
		var err error
		if s.values, err = r.values(ctx, g); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (r *read) nameOf(g *query.Group) string {
	if g.Metric != "" && !r.p.nameless {
		return g.Metric + suffixes[r.class.part]
	}
	return r.name
}

// empty returns a series without its values.
func (r *read) empty(l labels.Labels) *series {
	if r.p.shape == windows {
		return &series{labels: l, first: r.p.when.first, step: max(1, r.p.when.step), stale: true}
	}
	return &series{labels: l, first: (int64(r.grid.From) + r.grid.Step) * 1000, step: r.grid.Step * 1000}
}

// points is how many places a series has.
func (r *read) points() int {
	if r.p.shape == windows {
		return r.p.when.n
	}
	return r.grid.Len()
}

// maxCells bounds what the series of all selectors of a query take: 128 MB.
const maxCells = 16 << 20

// tally counts what the series of a query take.
type tally struct{ taken int }

// take refuses what does not fit any more.
func (c *tally) take(series, points int) error {
	if series > 0 && points > (maxCells-c.taken)/series {
		return &query.LimitError{Sentence: fmt.Sprintf("the selectors of this query make more than %d points, the last one %d series of %d each, which do not fit in memory: "+
			"filter, aggregate with sum by, take a longer step or a shorter range, or use fewer selectors", maxCells, series, points)}
	}
	c.taken += series * points
	return nil
}

// made refuses series that do not fit.
func (r *read) made(n int) error { return r.p.cells.take(n, max(r.points(), r.grid.Len())) }

// nan returns numbers that are none.
func nan(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	return out
}

// values returns one group's numbers.
func (r *read) values(ctx context.Context, g *query.Group) ([]float64, error) {
	if r.class.kind == metric.Counter {
		return r.numbers(g.Sums()), nil
	}
	read := reading(r.class, r.p.fn)
	if r.p.shape == windows && !r.class.adds() {
		out := make([]float64, r.p.when.n)
		err := r.bucketWindows(g.Buckets(), func(i int, b bucket.Bucket) error {
			out[i] = math.NaN()
			if b != nil {
				out[i] = read(b)
				if r.p.perSecond {
					out[i] /= float64(r.width)
				}
			}
			return ctx.Err()
		})
		return out, err
	}
	cells := make([]float64, r.grid.Len())
	for i, b := range g.Buckets() {
		cells[i] = math.NaN()
		if b != nil {
			cells[i] = read(b)
		}
	}
	return r.numbers(cells), nil
}

// numbers returns cells as the plan asks for them; they may be the same memory.
func (r *read) numbers(cells []float64) []float64 {
	if r.p.shape == windows {
		return r.overWindows(cells)
	}
	if r.p.perSecond {
		out := make([]float64, len(cells))
		for i, v := range cells {
			out[i] = v / float64(r.grid.Step)
		}
		return out
	}
	return cells
}
