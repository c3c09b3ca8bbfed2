package promql

import (
	"context"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"

	"cairn/internal/bucket"
	"cairn/query"
)

// bounds are those of all bins of a read's sketches, ascending. All its series have them in
// common: so sums over series are right, and histograms can be added. Each bin lies between
// neighbours of them.
type bounds struct {
	upper []float64
	place map[float64]int
}

func boundsOf(f *query.Frame) bounds {
	b := bounds{place: make(map[float64]int)}
	for _, g := range f.Groups {
		for _, d := range g.Buckets() {
			if d == nil {
				continue
			}
			d.(*bucket.Distribution).Bounds(func(lower, upper, _ float64) {
				for _, v := range [...]float64{lower, upper} {
					if _, ok := b.place[v]; !ok {
						b.place[v] = 0
						b.upper = append(b.upper, v)
					}
				}
			})
		}
	}
	slices.Sort(b.upper)
	for i, v := range b.upper {
		b.place[v] = i
	}
	return b
}

// infinite is the last bound of a classic histogram.
const infinite = "+Inf"

// histograms makes the series of name_bucket, or those of native histograms.
func (r *read) histograms(ctx context.Context, f *query.Frame) (out []*series, err error) {
	b := boundsOf(f)
	var of labeler
	each := 1
	if r.class.part == buckets {
		each = len(b.upper) + 1
	}
	if err := r.made(each * len(f.Groups)); err != nil {
		return nil, err
	}
	for _, g := range f.Groups {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !r.filters.pass(g.Tags) {
			continue
		}
		var some []*series
		if r.class.part == buckets {
			some, err = r.classic(ctx, &b, g, &of)
		} else {
			some, err = r.native(ctx, &b, g, &of)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

// classic makes a series for each bound: how many observations do not exceed it.
func (r *read) classic(ctx context.Context, b *bounds, g *query.Group, of *labeler) ([]*series, error) {
	n := len(b.upper)
	cells := make([][]float64, n+1) // by bound, the last one infinite
	out := make([]*series, 0, n+1)
	wanted := make([]string, n+1) // bounds that pass; "": it does not
	for i := range cells {
		text := infinite
		if i < n {
			text = strconv.FormatFloat(b.upper[i], 'g', -1, 64)
		}
		if r.filters.passBound(text) {
			wanted[i], cells[i] = text, nan(r.grid.Len())
		}
	}
	weights := make([]float64, n+1)
	for at, d := range g.Buckets() {
		if d == nil {
			continue
		}
		clear(weights)
		d.(*bucket.Distribution).Bounds(func(_, upper, weight float64) { weights[b.place[upper]] += weight })
		total := 0.0
		for i, w := range weights {
			total += w
			if cells[i] != nil {
				cells[i][at] = total
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	for i, text := range wanted {
		if text != "" {
			s := r.empty(of.of(r.nameOf(g), g.Tags, text))
			s.values = r.numbers(cells[i])
			out = append(out, s)
		}
	}
	return out, nil
}

// native makes one series of histograms with custom bounds.
func (r *read) native(ctx context.Context, b *bounds, g *query.Group, of *labeler) ([]*series, error) {
	s := r.empty(of.of(r.nameOf(g), g.Tags, ""))
	s.histograms = make([]*histogram.FloatHistogram, r.points())
	put := func(i int, d bucket.Bucket) error {
		if d != nil {
			h := b.histogram(d.(*bucket.Distribution), r.factor())
			s.histograms[i] = h
			if err := r.p.cells.take(1, emptyHistogram+len(h.PositiveSpans)+len(h.PositiveBuckets)); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	if r.p.shape == windows {
		return []*series{s}, r.bucketWindows(g.Buckets(), put)
	}
	for i, d := range g.Buckets() {
		if err := put(i, d); err != nil {
			return nil, err
		}
	}
	return []*series{s}, nil
}

// emptyHistogram is how many cells a histogram takes besides its spans and buckets.
const emptyHistogram = 24

func (b *bounds) histogram(d *bucket.Distribution, factor float64) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{
		Schema: histogram.CustomBucketsSchema, CustomValues: b.upper, Count: d.Count, Sum: d.Sum,
		CounterResetHint: histogram.GaugeType, // deltas: less than before is no reset
	}
	last := -1
	d.Bounds(func(_, upper, weight float64) {
		at := b.place[upper]
		if n := len(h.PositiveSpans); n > 0 && at == last+1 {
			h.PositiveSpans[n-1].Length++
		} else {
			h.PositiveSpans = append(h.PositiveSpans, histogram.Span{Offset: int32(at - last - 1), Length: 1})
		}
		h.PositiveBuckets = append(h.PositiveBuckets, weight)
		last = at
	})
	if factor != 0 && factor != 1 {
		h.Mul(factor)
	}
	return h
}
