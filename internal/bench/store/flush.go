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

	"cairn/internal/metric"

	"golang.org/x/sys/unix"
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
			got:  share(c.flush + c.behind), bar: "≤ 4%", reference: "prototype 3.1%", ok: verdict((c.flush+c.behind).Seconds()/secs <= flushBar),
			note: fmt.Sprintf("flushes %s, compactions and collector %s; packing the seconds, not in it, %s; %d MB flushed, %d MB written by compactions",
				share(c.flush), share(c.behind), share(c.pack), c.flushed>>20, c.compacted>>20),
		},
		{what: "the same: the longest flush", got: millis(c.longest), bar: "≤ 500 ms", ok: verdict(c.longest <= longestBar)},
	}, nil
}

// costs is where CPU time went.
type costs struct {
	flushes   int
	flush     time.Duration // CPU time of the flushing thread
	behind    time.Duration // that of all others: compactions, and the collector
	pack      time.Duration // of packing seconds
	longest   time.Duration // a flush, by the wall clock
	compacted uint64        // bytes that compactions wrote
	flushed   uint64        // bytes that flushes wrote
}

// costs feeds, flushes, and waits until the compactions are done. The goroutine has a
// thread to itself, so that what feeding takes can be left out; what the collector
// does for it is not.
func (b *bench) costs(ctx context.Context, dir string) (out costs, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := openRig(dir, b.series, begin, metric.Policy{})
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	e, rng := shuffled(b.series), rand.New(rand.NewPCG(2, 2))
	var m meter
	for i := range warmUp + b.flushes {
		if i == warmUp {
			out = costs{}
			if m, err = newMeter(); err != nil {
				return out, err
			}
			f := r.store.Figures()
			out.compacted, out.flushed = -f.CompactedOut, -f.Ingested-f.Flushed
		}
		if err := out.feed(r, e, rng, &m); err != nil {
			return out, err
		}
		took, err := b.took(r.flush)
		if err == nil {
			err = m.lap(&out.flush)
		}
		if err == nil {
			err = settle(ctx, r.store)
		}
		var waiting time.Duration
		if err == nil {
			err = m.lap(&waiting)
		}
		if err != nil {
			return out, err
		}
		out.longest, out.behind, out.flushes = max(out.longest, took), m.others, out.flushes+1
		if out.flushes%60 == 0 {
			b.say("%d flushes: %.2f%% of a core; the longest took %s", out.flushes,
				100*(out.flush+out.behind).Seconds()/float64(out.flushes*interval), millis(out.longest))
		}
	}
	f := r.store.Figures()
	out.compacted += f.CompactedOut
	out.flushed += f.Ingested + f.Flushed
	return out, nil
}

// feed lets an interval go by. A series counts 1 to 200 in a second.
func (c *costs) feed(r *rig, e *events, rng *rand.Rand, m *meter) error {
	for range interval {
		for i := range e.raw {
			e.raw[i].Bits = math.Float64bits(float64(1 + rng.Uint64()%200))
		}
		if err := r.feed(e); err != nil {
			return err
		}
		var feeding time.Duration
		if err := m.lap(&feeding); err != nil {
			return err
		}
		if err := r.tick(); err != nil {
			return fmt.Errorf("pack a second: %w", err)
		}
		if err := m.lap(&c.pack); err != nil {
			return err
		}
	}
	return nil
}

// meter tells the CPU time of a thread from that of the others.
type meter struct {
	others time.Duration // since the meter began
	begin  time.Duration // of the others, then
	mine   time.Duration // at the last lap
}

func newMeter() (m meter, err error) {
	all, err1 := cpuOf(unix.RUSAGE_SELF)
	m.mine, err = cpuOf(unix.RUSAGE_THREAD)
	m.begin = all - m.mine
	return m, errors.Join(err, err1)
}

// lap adds what the thread took since the last lap to what.
func (m *meter) lap(what *time.Duration) error {
	all, err1 := cpuOf(unix.RUSAGE_SELF)
	mine, err2 := cpuOf(unix.RUSAGE_THREAD)
	*what += mine - m.mine
	m.mine = mine
	m.others = all - mine - m.begin
	return errors.Join(err1, err2)
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
