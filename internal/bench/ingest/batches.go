//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"cairn/internal/bench/child"
	"cairn/internal/bench/report"
)

const (
	batchesBar = 1e6 // events a second, synced
	// answerBar is how much longer than an fsync of the disk an answer may take, at the
	// 99th percentile, in milliseconds.
	answerBar = 25
)

// batchesRow is what came out of sending batches over HTTP.
type batchesRow struct {
	flat, paced batchesSent
	cpu         float64 // seconds a million events, flat out
	fsync       float64 // 99th percentile of the disk's own, in milliseconds
}

// pacedSecs is long enough for a flush to be among what is measured.
const pacedSecs = 15

// batches sends at the bar's rate for the time of an answer, and then flat out: of
// connections that never wait, the time is their number over the rate.
func (b *bench) batches(ctx context.Context) (out batchesRow, err error) {
	if out.fsync, err = b.fsync(); err != nil {
		return out, err
	}
	s, err := b.startCairn(ctx, 6*setupTime)
	if err != nil {
		return out, err
	}
	defer s.close()
	if _, err := b.sendBatches(ctx, s, 1, 0); err != nil { // first sight of all series
		return out, err
	}
	if out.paced, err = b.sendBatches(ctx, s, pacedSecs, batchesBar/batchEvents); err != nil {
		return out, err
	}
	before, err := cpuOf(s.PID())
	if err != nil {
		return out, err
	}
	if out.flat, err = b.sendBatches(ctx, s, b.secs, 0); err != nil {
		return out, err
	}
	after, err := cpuOf(s.PID())
	if err != nil {
		return out, err
	}
	out.cpu = (after - before).Seconds() / (float64(out.flat.Batches) * batchEvents / 1e6)
	b.say("batches: %.2f M events/s, %.3f CPU s/M; at %.2f M an answer takes %.1f ms, p99 %.1f ms; fsync p99 %.1f ms",
		out.flat.rate()/1e6, out.cpu, out.paced.rate()/1e6, out.paced.P50, out.paced.P99, out.fsync)
	return out, nil
}

// rate returns events a second.
func (s *batchesSent) rate() float64 { return float64(s.Batches) * batchEvents / s.Secs }

func (b *bench) sendBatches(ctx context.Context, s *server, secs int, rate float64) (out batchesSent, err error) {
	p, err := child.Start(ctx, child.GeneratorCore, setupTime, "/proc/self/exe", batchCommand,
		fmt.Sprintf("127.0.0.1:%d", s.Port), strconv.Itoa(secs), strconv.FormatFloat(rate, 'f', -1, 64))
	if err != nil {
		return out, err
	}
	defer p.Kill()
	if err := p.Wait(); err != nil {
		return out, err
	}
	return out, json.Unmarshal(p.Stdout(), &out)
}

// fsync returns the 99th percentile of what the disk takes to sync what a group of
// batches is, in milliseconds.
func (b *bench) fsync() (p99 float64, err error) {
	f, err := os.Create(filepath.Join(b.dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 256<<10)
	var took []float64
	for range 300 {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		begin := b.clock.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, float64(b.clock.Now().Sub(begin))/float64(time.Millisecond))
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}

func (r *batchesRow) markdown() string {
	extra := r.paced.P99 - r.fsync
	return fmt.Sprintf("\nBatches over HTTP: snappy, %d events (%d bytes) each, %d connections, each a producer, all synced: %.2f M events/s (bar %.0f M: %s), %.3f CPU s/M. At %.2f M events/s an answer takes %.1f ms, p99 %.1f ms: %.1f ms above the p99 of the disk's own fsync, %.1f ms (bar %d: %s).\n",
		batchEvents, r.flat.Bytes, batchConns, r.flat.rate()/1e6, batchesBar/1e6, report.Verdict(r.flat.rate() >= batchesBar), r.cpu,
		r.paced.rate()/1e6, r.paced.P50, r.paced.P99, extra, r.fsync, answerBar, report.Verdict(extra < answerBar && r.paced.rate() > 0.99*batchesBar))
}
