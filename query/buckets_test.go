package query

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/bucket"
	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// kindSource knows m under some kinds, and holds one bucket of each at second 10
// in each of n series.
type kindSource struct {
	kinds []metric.Kind
	n     int
	fill  func(b bucket.Bucket, i int)
}

func (s *kindSource) Part(metric.ID, int, int) Selection { panic("BUG: a query takes all that match") }

func (s *kindSource) Kinds(name string) []metric.Kind {
	if name != "m" {
		return nil
	}
	return s.kinds
}

func (s *kindSource) Metrics() []MetricInfo { return nil }

func (s *kindSource) IDs() []metric.ID { return nil }

func (s *kindSource) TagCounts(metric.ID, func(metric.Tag, int)) {}

func (s *kindSource) Select(_ context.Context, id metric.ID, match matcher.List) (Selection, error) {
	sel := &kindSelection{s: s, kind: id.Kind}
	for i := range s.n {
		if ts := metric.NewTagset([]metric.Tag{{Key: "i", Value: fmt.Sprint(i)}}); id.Name == "m" && match.Match(ts) {
			sel.tags = append(sel.tags, ts)
		}
	}
	return sel, nil
}

type kindSelection struct {
	s    *kindSource
	kind metric.Kind
	tags []metric.Tagset
}

func (s *kindSelection) Tags() []metric.Tagset { return s.tags }

func (s *kindSelection) Slice(i, j int) Selection { return &kindSelection{s.s, s.kind, s.tags[i:j]} }

func (s *kindSelection) Last() metric.UnixSec { return metric.Never }

func (s *kindSelection) Scan(_ context.Context, _ metric.Tier, _, _ metric.UnixSec, yield Yield) error {
	for i := range s.tags {
		if err := yield(i, 10, 1, []uint32{0}, []float64{1}); err != nil {
			return err
		}
	}
	return nil
}

func (s *kindSelection) ScanBuckets(_ context.Context, _ metric.Tier, _, _ metric.UnixSec, yield YieldBucket) error {
	for i := range s.tags {
		b := bucket.New(s.kind)
		s.s.fill(b, i)
		if err := yield(i, 10, b); err != nil {
			return err
		}
	}
	return nil
}

func runKinds(t *testing.T, s *kindSource, o Operand) (*Result, error) {
	t.Helper()
	r := Request{Operand: o}
	if r.Metric == "" {
		r.Metric = "m"
	}
	r.From, r.To, r.Step, r.Limit = 0, 20, 10, 10
	x := &Executor{Acquire: func() (*View, error) {
		return &View{Open: []Source{s}, OpenDone: func() {}, Store: &kindSource{}, Close: func() {}}, nil
	}}
	return x.Run(context.Background(), r)
}

func fillOne(b bucket.Bucket, i int) {
	switch b := b.(type) {
	case *bucket.Gauge:
		b.Observe(float64(i), 10, 10_000)
	case *bucket.Distribution:
		b.Observe(float64(i), 1)
	case *bucket.Set:
		b.Insert(bucket.HashMember([]byte{byte(i)}))
	}
}

func TestDefaultFunctionOfAKind(t *testing.T) {
	for k, want := range map[metric.Kind]Fn{metric.Counter: Count, metric.Gauge: Last, metric.Distribution: "p95", metric.Set: Uniques} {
		res, err := runKinds(t, &kindSource{[]metric.Kind{k}, 3, fillOne}, Operand{})
		require.NoError(t, err)
		require.Equal(t, want, res.Fn)
		require.Equal(t, k, res.Kind)
		require.Empty(t, res.Warnings)
		require.Equal(t, 3, res.SeriesMatched)
	}
}

func TestNameOfSeveralKinds(t *testing.T) {
	s := &kindSource{metric.Kinds[:], 4, fillOne}
	res, err := runKinds(t, s, Operand{})
	require.NoError(t, err)
	require.Equal(t, metric.Counter, res.Kind)
	require.Equal(t, []string{`the name "m" stands for 4 metrics: a counter and a gauge and a distribution and a set; this is the counter, and the parameter kind selects another`}, res.Warnings)

	res, err = runKinds(t, s, Operand{Fn: "p50"})
	require.NoError(t, err)
	require.Equal(t, metric.Distribution, res.Kind, "the function decides")

	res, err = runKinds(t, s, Operand{Kind: metric.Set})
	require.NoError(t, err)
	require.Equal(t, 4.0, res.Total)
	require.Empty(t, res.Warnings)

	_, err = runKinds(t, s, Operand{Kind: metric.Gauge, Fn: Uniques})
	var p *ParamError
	require.ErrorAs(t, err, &p)
	require.Equal(t, `"m" is a gauge, which has no uniques; it has last, avg, min, max, sum, count`, p.Sentence)

	res, err = runKinds(t, s, Operand{Metric: "nowhere", Fn: "above:3"})
	require.NoError(t, err)
	require.True(t, math.IsNaN(res.Total))
	require.Equal(t, []string{`no distribution named "nowhere" is known; it appears with its first event`}, res.Warnings)
}

// TestTooManyBuckets: a query that would merge into more memory than it may have
// ends with a sentence.
func TestTooManyBuckets(t *testing.T) {
	dense := bucket.New(metric.Set)
	for i := range uint64(1 << 14) {
		dense.(*bucket.Set).Insert(bucket.HashMember([]byte{byte(i), byte(i >> 8)}))
	}
	merged := bucket.New(metric.Set)
	merged.Merge(dense)
	s := &kindSource{[]metric.Kind{metric.Set}, maxBucketBytes/merged.Size() + 1, func(b bucket.Bucket, _ int) { b.Merge(dense) }}
	_, err := runKinds(t, s, Operand{Group: Grouping{Keys: []string{"i"}}})
	var l *LimitError
	require.ErrorAs(t, err, &l)
	require.Contains(t, l.Sentence, "group by fewer tags")
}
