package flush

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/metric"
	"cairn/query"
	"cairn/tsdb"
)

// resolveKinds reads the kind's number as rest.
func resolveKinds(name, rest []byte, _ metric.UnixSec) (agg.Resolution, metric.Reason) {
	s := metric.Series{ID: metric.ID{Name: string(name), Kind: metric.Kind(rest[0] - '0')}, Tags: metric.NewTagset([]metric.Tag{{Key: "k", Value: string(rest[1:])}})}
	return agg.Resolution{Series: s, Weight: agg.Weight{Num: 1, Den: 1}}, metric.OK
}

// TestKindsEndToEnd sends random readings, observations and members through
// stripes, flushes and restarts, and asks for every function at every tier: the
// answers are those of one bucket to which every event was added by hand.
func TestKindsEndToEnd(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewMem()
	r := newRig(t, fs, 2)
	reopen := func() {
		r.agg = agg.New(agg.Limits{Series: 100, SeriesPerMetric: 100, Metrics: 100}, slices.Repeat([]agg.Resolver{resolveKinds}, 2), rng)
		var err error
		r.store, err = tsdb.Open("data", tsdb.Options{FS: fs, Cache: 1 << 20})
		require.NoError(t, err)
		r.pump = New(r.agg, r.store, Options{Clock: r.clock, Grace: 10 * time.Second, Interval: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
	}
	r.close()
	reopen()
	type cell struct {
		kind  metric.Kind
		group string
		sec   metric.UnixSec
	}
	oracle := map[cell]bucket.Bucket{}
	send := func() {
		k := metric.Kinds[1+rng.IntN(3)]
		group := string(rune('a' + rng.IntN(3)))
		at := metric.MilliOf(r.clock.Now())
		p := cell{k, group, at.Sec()}
		if oracle[p] == nil {
			oracle[p] = bucket.New(k)
		}
		v := float64(rng.IntN(2000) - 200)
		e := agg.Raw{Bits: math.Float64bits(v), NameLen: 1, Rest: 1, RestLen: 2}
		switch b := oracle[p].(type) {
		case *bucket.Gauge:
			b.Observe(v, at.Sec(), at)
		case *bucket.Distribution:
			b.Observe(v, 1)
		case *bucket.Set:
			e.Bits = bucket.HashMember(fmt.Append(nil, v))
			b.Insert(e.Bits)
		}
		s := r.agg.Stripe(rng.IntN(2))
		s.Lock()
		s.Add(fmt.Appendf(nil, "m%d%s", k, group), []agg.Raw{e}, at)
		s.Unlock()
	}
	check := func() {
		for _, k := range metric.Kinds[1:] {
			for _, tier := range metric.Tiers {
				checkKind(t, r, k, tier.Width(), func(group string, from, to metric.UnixSec) bucket.Bucket {
					sum := bucket.New(k)
					for p, b := range oracle {
						if p.kind == k && (group == "" || p.group == group) && p.sec >= from && p.sec < to {
							sum.Merge(b)
						}
					}
					return sum
				})
			}
		}
	}
	for i := range 3000 {
		send()
		r.clock.Advance(time.Duration(1+rng.IntN(100)) * time.Millisecond)
		switch {
		case i%211 == 0:
			require.NoError(t, r.pump.Flush(metric.SecOf(r.clock.Now())-metric.UnixSec(rng.IntN(4))))
			require.Zero(t, r.pump.Stats().Imbalance())
		case i%1000 == 500:
			check()
			r.close()
			reopen()
		}
	}
	check()
	r.close()
}

// checkKind compares every function of a kind, by group, with what want holds.
func checkKind(t *testing.T, r *rig, k metric.Kind, step int64, want func(group string, from, to metric.UnixSec) bucket.Bucket) {
	t.Helper()
	reads := map[metric.Kind]map[query.Fn]func(b bucket.Bucket) float64{
		metric.Gauge: {
			query.Last: func(b bucket.Bucket) float64 { return b.(*bucket.Gauge).Last },
			query.Min:  func(b bucket.Bucket) float64 { return b.(*bucket.Gauge).Min },
			query.Avg:  func(b bucket.Bucket) float64 { return b.(*bucket.Gauge).Sum / b.(*bucket.Gauge).Count },
		},
		metric.Distribution: {
			"p99.9":      func(b bucket.Bucket) float64 { return b.(*bucket.Distribution).Quantile(0.999) },
			"p50":        func(b bucket.Bucket) float64 { return b.(*bucket.Distribution).Quantile(0.5) },
			"above:1000": func(b bucket.Bucket) float64 { return b.(*bucket.Distribution).Above(1000) },
			"below:-7.5": func(b bucket.Bucket) float64 { return b.(*bucket.Distribution).Below(-7.5) },
			query.Max:    func(b bucket.Bucket) float64 { return b.(*bucket.Distribution).Max },
			query.Rate:   func(b bucket.Bucket) float64 { return b.(*bucket.Distribution).Count / float64(step) },
		},
		metric.Set: {query.Uniques: func(b bucket.Bucket) float64 { return b.(*bucket.Set).Estimate() }},
	}
	from, to := metric.UnixSec(begin).Floor(step), metric.UnixSec(begin+400).Ceil(step)
	for fn, read := range reads[k] {
		x := query.Executor{Acquire: r.pump.View}
		res, err := x.Run(context.Background(), query.Request{
			Operand: query.Operand{Metric: "m", Kind: k, Group: query.Grouping{Keys: []string{"k"}}, Fn: fn}, From: from, To: to, Step: step, Limit: 10,
		})
		require.NoError(t, err)
		require.Empty(t, res.Warnings)
		total := func(b bucket.Bucket) float64 {
			if fn == query.Rate {
				return b.(*bucket.Distribution).Count
			}
			return read(b)
		}
		require.InDelta(t, total(want("", from, to)), res.Total, 1e-9, "%s of %s", fn, k)
		require.Len(t, res.Series, 3)
		for _, s := range res.Series {
			group := s.Tags[0].Values[0]
			require.InDelta(t, total(want(group, from, to)), s.Total, 1e-9, "%s of %s", fn, k)
			for i, v := range s.Values {
				at := from + metric.UnixSec(int64(i)*step)
				b := want(group, at, at+metric.UnixSec(step))
				if len(b.Append(nil, at)) == len(bucket.New(k).Append(nil, at)) {
					require.True(t, math.IsNaN(v), "%s of %s at %d", fn, k, at)
					continue
				}
				require.InDelta(t, read(b), v, 1e-9, "%s of %s at %d, step %d", fn, k, at, step)
			}
		}
	}
}
