//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"cairn/internal/bench/report"
	"cairn/internal/metric"
	"cairn/query"
)

const (
	oldSeries   = 500 // that have 30 days of minutes
	oldDays     = 30
	day         = 86400
	liveSeries  = 10_000 // that count meanwhile
	liveFlushes = 900
	besideBar   = 2.0
)

// beside flushes with nobody reading, and with a reader of 30 days that does nothing else.
func (b *bench) beside(ctx context.Context, dir string) (rows []row, err error) {
	now := begin.Floor(day)
	r, err := openRig(dir, oldSeries+liveSeries, now, metric.Policy{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := fillOld(ctx, r, now); err != nil {
		return nil, err
	}
	e := shuffled(liveSeries)
	if _, err := b.flushTimes(ctx, r, e, warmUp); err != nil {
		return nil, err
	}
	// In turn, so that both meet the machine in the same moods.
	var idle, busy []time.Duration
	reads := 0
	for range 3 {
		some, err := b.flushTimes(ctx, r, e, liveFlushes/3)
		if err != nil {
			return nil, err
		}
		idle = append(idle, some...)
		stop := readLoop(ctx, r, now)
		some, err = b.flushTimes(ctx, r, e, liveFlushes/3)
		n, failed := stop()
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		busy, reads = append(busy, some...), reads+n
	}
	before, after := report.Quantile(idle, 0.99), report.Quantile(busy, 0.99)
	ratio := after.Seconds() / before.Seconds()
	return []row{{
		what: fmt.Sprintf("p99 of a flush of %d series while %d series × %d days are read in a loop, over the idle one", liveSeries, oldSeries, oldDays),
		got:  fmt.Sprintf("× %.2f", ratio), bar: "≤ 2", ok: report.Verdict(ratio <= besideBar),
		note: fmt.Sprintf("%s idle, %s beside %d reads; medians %s and %s; %d flushes each", report.Millis(before), report.Millis(after), reads, report.Millis(report.Median(idle)), report.Millis(report.Median(busy)), len(idle)),
	}}, nil
}

// fillOld stores the 30 days before now, day by day.
func fillOld(ctx context.Context, r *rig, now metric.UnixSec) error {
	rng := rand.New(rand.NewPCG(4, 4))
	for d := range metric.UnixSec(oldDays) {
		if err := ctx.Err(); err != nil {
			return err
		}
		batch := r.store.NewBatch()
		for i := range oldSeries {
			ref, err := batch.Ref(metric.Series{ID: metric.ID{Name: "old", Kind: metric.Counter}, Tags: metric.NewTagset([]metric.Tag{{Key: "host", Value: fmt.Sprint(i)}})})
			sums := make([]metric.Sum, day/60)
			for j := range sums {
				sums[j] = metric.Sum{Sec: now - oldDays*day + d*day + metric.UnixSec(j*60), Events: 1, Value: float64(1 + rng.IntN(200))}
			}
			if err == nil {
				err = batch.Add(ref, sums)
			}
			if err != nil {
				batch.Discard()
				return err
			}
		}
		if err := batch.Commit(); err != nil {
			batch.Discard()
			return err
		}
		batch.Publish()
	}
	return r.store.Compact(ctx)
}

// flushTimes feeds and flushes n times, when compactions are done, as they would be after
// ten real seconds.
func (b *bench) flushTimes(ctx context.Context, r *rig, e *events, n int) (times []time.Duration, err error) {
	for range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for range interval {
			if err := r.feed(e); err != nil {
				return nil, err
			}
			if err := r.tick(); err != nil {
				return nil, err
			}
		}
		if err := settle(ctx, r.store); err != nil {
			return nil, err
		}
		took, err := b.took(r.flush)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	return times, nil
}

// readLoop reads the 30 days until stop, which tells how often.
func readLoop(ctx context.Context, r *rig, now metric.UnixSec) (stop func() (int, error)) {
	ctx, cancel := context.WithCancel(ctx)
	x := query.Executor{Acquire: r.pump.View}
	var done sync.WaitGroup
	var n int
	var failed error
	done.Go(func() {
		for ctx.Err() == nil {
			res, err := x.Run(ctx, query.Request{Operand: query.Operand{Metric: "old", Fn: query.Count}, From: now - oldDays*day, To: now, Step: 3600, Limit: 10})
			if ctx.Err() != nil {
				return
			}
			if err == nil && res.SeriesMatched != oldSeries {
				err = fmt.Errorf("a reader found %d series, not %d", res.SeriesMatched, oldSeries)
			}
			if err != nil {
				failed = err
				return
			}
			n++
		}
	})
	return func() (int, error) {
		cancel()
		done.Wait()
		return n, failed
	}
}
