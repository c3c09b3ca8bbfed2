//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/internal/bench/report"
	"cairn/internal/metric"
	"cairn/query"
)

const readBar = 10 * time.Millisecond

// readRounds is how often a warm store is read; the median is given.
const readRounds = 51

// read sums the data set at 10 s, once warm: by the executor, and by scans alone.
func (b *bench) read(ctx context.Context, dir string) (rows []row, err error) {
	r, err := openRig(dir, dataSeries, begin+dataSeconds+3*grace, metric.Policy{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	ran, scanned, err := b.reads(ctx, r, readRounds)
	if err != nil {
		return nil, err
	}
	run, scan := report.Median(ran), report.Median(scanned)
	what := fmt.Sprintf("read %d series × 1 h at 10 s summed, warm", dataSeries)
	return []row{{
		what: what, got: report.Millis(run), bar: "≤ 10 ms", ok: report.Verdict(run <= readBar), reference: "VictoriaMetrics about 90 ms",
		note: fmt.Sprintf("%d requests to the executor, one a metric, one after another; scans of the store alone take %s", dataMetrics, report.Millis(scan)),
	}}, nil
}

// reads reads the data set n times, by the executor and by scans.
func (b *bench) reads(ctx context.Context, r *rig, n int) (ran, scanned []time.Duration, err error) {
	want := r.store.Totals().Units
	x := query.Executor{Acquire: r.pump.View}
	for range n {
		var total float64
		took, err := b.took(func() (err error) { total, err = runAll(ctx, &x); return err })
		if err == nil && total != want {
			err = fmt.Errorf("the store holds %.0f and the executor found %.0f", want, total)
		}
		if err != nil {
			return nil, nil, err
		}
		ran = append(ran, took)
		took, err = b.took(func() (err error) { total, err = scanAll(ctx, r); return err })
		if err == nil && total != want {
			err = fmt.Errorf("the store holds %.0f and scans found %.0f", want, total)
		}
		if err != nil {
			return nil, nil, err
		}
		scanned = append(scanned, took)
	}
	return ran, scanned, nil
}

func metricName(i int) string { return fmt.Sprintf("shop.metric_%02d", i) }

func runAll(ctx context.Context, x *query.Executor) (total float64, err error) {
	for i := range dataMetrics {
		res, err := x.Run(ctx, query.Request{Operand: query.Operand{Metric: metricName(i), Fn: query.Count}, From: begin, To: begin + dataSeconds, Step: 10, Limit: 10})
		if err != nil {
			return 0, err
		}
		total += res.Total
	}
	return total, nil
}

func scanAll(ctx context.Context, r *rig) (total float64, err error) {
	snap := r.store.Snapshot()
	defer func() { err = errors.Join(err, snap.Close()) }()
	for i := range dataMetrics {
		sel := r.store.Select(metric.ID{Name: metricName(i), Kind: metric.Counter}, nil)
		err := snap.Scan(ctx, sel, metric.Tier10s, begin, begin+dataSeconds, func(_ int, _ metric.UnixSec, _ []uint32, sums []float64) error {
			for _, v := range sums {
				total += v
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}
