//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"cairn/internal/bench/report"
	"cairn/internal/metric"
)

const (
	flushBar   = 0.04 // of one core
	longestBar = 500 * time.Millisecond
)

// warmUp is how many flushes are not measured: those of series that the store does not know.
const warmUp = 2

// flush measures what flushes cost, with the compactions that they cause.
func (b *bench) flush(ctx context.Context, dir string) (rows []row, err error) {
	var c costs
	if err := b.profiled(func() error { c, err = b.costs(ctx, dir); return err }); err != nil {
		return nil, err
	}
	secs := float64(c.flushes * interval)
	share := func(d time.Duration) string { return fmt.Sprintf("%.2f%%", 100*d.Seconds()/secs) }
	return []row{
		{
			what: fmt.Sprintf("flush of %d series active every second, all tiers, %d times: CPU of one core", b.series, c.flushes),
			got:  share(c.flush + c.behind), bar: "≤ 4%", reference: "prototype 3.1%", ok: report.Verdict((c.flush+c.behind).Seconds()/secs <= flushBar),
			note: fmt.Sprintf("until flushes return %s, compactions afterwards %s; packing the seconds, not in it, %s; %d MB flushed, %d MB written by compactions",
				share(c.flush), share(c.behind), share(c.pack), c.flushed>>20, c.compacted>>20),
		},
		{what: "the same: the longest flush", got: report.Millis(c.longest), bar: "≤ 500 ms", ok: report.Verdict(c.longest <= longestBar)},
	}, nil
}

// costs is where CPU time went: that of the whole process, but for what feeding took.
type costs struct {
	flushes   int
	flush     time.Duration // CPU time until flushes return
	behind    time.Duration // until nothing goes on any more
	pack      time.Duration // of packing seconds; not in the others
	longest   time.Duration // a flush, by the wall clock
	compacted uint64        // bytes that compactions wrote
	flushed   uint64        // bytes that flushes wrote
}

// costs feeds, flushes, and waits until the compactions are done. What feeding takes is
// left out; what the collector does for it is not.
func (b *bench) costs(ctx context.Context, dir string) (out costs, err error) {
	r, err := openRig(dir, b.series, begin, metric.Policy{})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	e, rng := shuffled(b.series), rand.New(rand.NewPCG(2, 2))
	for i := range warmUp + b.flushes {
		if i == warmUp {
			f := r.store.Figures()
			out = costs{compacted: -f.CompactedOut, flushed: -f.Ingested - f.Flushed}
		}
		if err := out.round(ctx, b, r, e, rng); err != nil {
			return out, err
		}
		if out.flushes%60 == 0 {
			b.say("%d flushes: %.2f%% of a core; the longest took %s", out.flushes,
				100*(out.flush+out.behind).Seconds()/float64(out.flushes*interval), report.Millis(out.longest))
		}
	}
	f := r.store.Figures()
	out.compacted += f.CompactedOut
	out.flushed += f.Ingested + f.Flushed
	return out, nil
}

// round lets an interval go by, and flushes it.
func (c *costs) round(ctx context.Context, b *bench, r *rig, e *events, rng *rand.Rand) error {
	begin, err := cpuOf(unix.RUSAGE_SELF)
	if err != nil {
		return err
	}
	var fed, packed time.Duration
	for range interval {
		took, err := ofThread(func() error {
			for i := range e.raw { // a series counts 1 to 200 in a second
				e.raw[i].Bits = math.Float64bits(float64(1 + rng.Uint64()%200))
			}
			return r.feed(e)
		})
		if err != nil {
			return err
		}
		fed += took
		if took, err = ofThread(r.tick); err != nil {
			return fmt.Errorf("pack a second: %w", err)
		}
		packed += took
	}
	took, err := b.took(r.flush)
	if err != nil {
		return err
	}
	flushed, err := cpuOf(unix.RUSAGE_SELF)
	if err != nil {
		return err
	}
	if err := settle(ctx, r.store); err != nil {
		return err
	}
	settled, err := cpuOf(unix.RUSAGE_SELF)
	c.flush += flushed - begin - fed - packed
	c.behind += settled - flushed
	c.pack += packed
	c.longest, c.flushes = max(c.longest, took), c.flushes+1
	return err
}

// ofThread returns the CPU time of the thread that f runs on, and has for itself. Only
// what is left out has one: a goroutine that is bound to a thread pays for each change to
// another, and a server's pump is not bound.
func ofThread(f func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	begin, err1 := cpuOf(unix.RUSAGE_THREAD)
	err2 := f()
	end, err3 := cpuOf(unix.RUSAGE_THREAD)
	return end - begin, errors.Join(err1, err2, err3)
}

// cpuOf returns the CPU time, user and system, of unix.RUSAGE_SELF or, of a goroutine
// that has a thread to itself, unix.RUSAGE_THREAD.
func cpuOf(who int) (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return 0, fmt.Errorf("read the CPU time: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
