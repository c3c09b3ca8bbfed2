//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"cairn/internal/bench/report"
	"cairn/internal/chunk"
	"cairn/internal/metric"
)

const (
	decodeBar    = 300e6 // samples a second
	decodeRounds = 5
	decodeTimes  = 20_000 // 72 M samples
)

// decode decodes an hour of seconds of a busy counter, over and over.
func (b *bench) decode(ctx context.Context, _ string) ([]row, error) {
	run, prev := []byte{chunk.Run(metric.Counter)}, uint32(0)
	rng := rand.New(rand.NewPCG(3, 3))
	for slot := range uint32(dataSeconds) {
		run = chunk.AppendSum(run, prev, slot, math.Floor(200+14*rng.NormFloat64()))
		prev = slot + 1
	}
	a := chunk.NewAccumulator()
	a.Start(chunk.MaxSlots, func(slot uint32) metric.UnixSec { return begin + metric.UnixSec(slot) })
	a.Add(run)
	col := a.Finish(true)
	if len(col) >= len(run) {
		return nil, errors.New("a busy hour is not stored as columns")
	}
	d := chunk.NewDecoder()
	var times []time.Duration
	for range decodeRounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		took, err := b.took(func() error {
			for range decodeTimes {
				slots, _, err := d.Sums(col, chunk.MaxSlots)
				if err == nil && len(slots) != dataSeconds {
					err = fmt.Errorf("%d of %d slots were decoded", len(slots), dataSeconds)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	rate := decodeTimes * dataSeconds / report.Median(times).Seconds()
	return []row{{
		what: "decode a dense column, on one core", got: fmt.Sprintf("%.0f M samples/s", rate/1e6), bar: "≥ 300 M", ok: report.Verdict(rate >= decodeBar),
		reference: "prototype 350 M", note: fmt.Sprintf("%d bytes for %d samples", len(col), dataSeconds),
	}}, nil
}
