package promql

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// acceptance runs Prometheus' own scripts: what they load is put into Cairn as the readings of
// gauges, each in the bucket that ends at its time. What a bucket cannot hold, and what Cairn
// means otherwise, is left to Prometheus' own storage; why is counted.
type acceptance struct {
	stock *promql.Engine
	e     *Engine
	ours  int
	not   map[string]int
}

func (a *acceptance) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	pq, err := a.query(ctx, q, Query{Text: qs, Start: ts, End: ts})
	if pq != nil || err != nil {
		return pq, err
	}
	return a.stock.NewInstantQuery(ctx, q, opts, qs, ts)
}

func (a *acceptance) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	pq, err := a.query(ctx, q, Query{Text: qs, Start: start, End: end, Step: step})
	if pq != nil || err != nil {
		return pq, err
	}
	return a.stock.NewRangeQuery(ctx, q, opts, qs, start, end, step)
}

// query returns nil, nil if it does not apply.
func (a *acceptance) query(ctx context.Context, from storage.Queryable, q Query) (promql.Query, error) {
	why := ""
	tree, err := newParser().ParseExpr(q.Text)
	switch {
	case err != nil && strings.Contains(q.Text, "info"):
		why = "info() is not there"
	case err != nil:
		return nil, err
	default:
		parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok && (v.Anchored || v.Smoothed) {
				why = "anchored and smoothed are refused"
			}
			return nil
		})
	}
	var w *world
	if why == "" {
		w, why = load(ctx, from)
	}
	if why != "" {
		a.not[why]++
		return nil, nil
	}
	a.ours++
	if err := q.check(tree); err != nil {
		return nil, err
	}
	a.e.exec = w.executor()
	s := a.e.session(&q)
	all, tree, err := s.read(ctx, &q, tree)
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	pq, err := s.prepared(ctx, &q, tree, all)
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	return pq, nil
}

// accepted is the time after all that the scripts load.
const accepted = 3_000_000_000

// load puts all samples of a storage into a world, or says why not.
func load(ctx context.Context, from storage.Queryable) (*world, string) {
	w := newWorld(accepted)
	for i := range w.policy {
		w.policy[i] = metric.MaxRetention
	}
	q, err := from.Querier(math.MinInt64, math.MaxInt64)
	if err != nil {
		panic(err)
	}
	defer q.Close()
	why := ""
	set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, ".*"))
	for why == "" && set.Next() {
		s := set.At()
		name := s.Labels().Get(model.MetricNameLabel)
		if name == "" {
			why = "series without a name"
			continue
		}
		var tags []metric.Tag
		s.Labels().Range(func(l labels.Label) {
			if l.Name != model.MetricNameLabel {
				tags = append(tags, metric.Tag{Key: l.Name, Value: l.Value})
			}
		})
		ts := metric.NewTagset(tags)
		w.store.gauge(name, ts, 0, 0) // known, also if it has no sample
		delete(w.store.of(metric.ID{Name: name, Kind: metric.Gauge}, ts).buckets, 0)
		it := s.Iterator(nil)
		for typ := it.Next(); typ != chunkenc.ValNone && why == ""; typ = it.Next() {
			if typ != chunkenc.ValFloat {
				why = "native histograms are made of sketches only"
				break
			}
			switch t, v := it.At(); {
			case it.AtST() != 0:
				why = "buckets have no start timestamps"
			case math.Abs(v) > 1<<53:
				why = "sums of readings are float64, without Kahan's compensation"
			case value.IsStaleNaN(v):
				why = "nothing ends a gauge but time"
			case math.IsNaN(v) || math.IsInf(v, 0):
				why = "readings are finite"
			case t%1000 != 0:
				why = "buckets are whole seconds"
			default:
				w.store.gauge(name, ts, metric.UnixSec(t/1000-1), v)
			}
		}
	}
	return w, why
}

func TestPrometheusAcceptance(t *testing.T) {
	a := &acceptance{
		stock: promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery), not: map[string]int{},
		e: newWorld(accepted).engine(),
	}
	promqltest.RunBuiltinTests(t, a)
	t.Log("on our storage:", a.ours, "not:", a.not)
	require.Greater(t, a.ours, 5000)
}
