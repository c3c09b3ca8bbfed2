//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"cairn/internal/bench/report"
	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/tsdb"
)

const (
	openSeries = 1_000_000
	openBar    = 2 * time.Second
	memoryBar  = 300 << 20
	openRounds = 3
)

// openCommand and a folder as the only arguments open a store and tell of it.
const openCommand = "open"

// open makes a store of a million series, and lets a child open it.
func (b *bench) open(ctx context.Context, dir string) ([]row, error) {
	r, err := openRig(dir, openSeries, begin, metric.Policy{})
	if err != nil {
		return nil, err
	}
	err = r.feed(shuffled(openSeries))
	if err == nil {
		err = r.tick()
	}
	if err = errors.Join(err, r.close()); err != nil {
		return nil, err
	}
	var times []time.Duration
	var peak uint64
	for range openRounds {
		cmd := exec.CommandContext(ctx, "/proc/self/exe", openCommand, dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("open the store in a child: %w", err)
		}
		var ns int64
		var series, hwm uint64
		if _, err := fmt.Sscan(string(out), &ns, &series, &hwm); err != nil {
			return nil, fmt.Errorf("the child said %q: %w", out, err)
		}
		if series != openSeries {
			return nil, fmt.Errorf("the child found %d series in the store, not %d", series, openSeries)
		}
		times, peak = append(times, time.Duration(ns)), max(peak, hwm)
	}
	took := report.Median(times)
	return []row{
		{what: fmt.Sprintf("open a store of %d series with 3 tags", openSeries), got: fmt.Sprintf("%.2f s", took.Seconds()), bar: "≤ 2 s", ok: report.Verdict(took <= openBar)},
		{what: "the same: resident at the peak", got: fmt.Sprintf("%d MB", peak>>20), bar: "≤ 300 MB", ok: report.Verdict(peak <= memoryBar)},
	}, nil
}

// openAndTell opens the store in dir and writes nanoseconds, series, and bytes that
// were resident at the peak.
func openAndTell(dir string, out io.Writer) error {
	c := clock.NewSystem()
	before := c.Now()
	s, err := tsdb.Open(dir, tsdb.Options{})
	if err != nil {
		return err
	}
	took := c.Now().Sub(before)
	series := 0
	for _, m := range s.Metrics() {
		series += m.Series
	}
	peak, err := peakOf("/proc/self/status")
	if err == nil {
		_, err = fmt.Fprintln(out, took.Nanoseconds(), series, peak)
	}
	return errors.Join(err, s.Close())
}

// peakOf returns VmHWM in bytes.
func peakOf(status string) (uint64, error) {
	b, err := os.ReadFile(status)
	if err != nil {
		return 0, fmt.Errorf("read the memory: %w", err)
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	var kb uint64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		return 0, fmt.Errorf("%s has no VmHWM: %w", status, err)
	}
	return kb << 10, nil
}
