//go:build linux

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/flush"
	"cairn/internal/metric"
	"cairn/tsdb"
)

// begin is the first second of what is measured: a full hour, the default of
// the data set's generator.
const begin = metric.UnixSec(1_700_000_000 / 3600 * 3600)

// interval is the default of --flush-interval, and grace that of --grace, in seconds.
const (
	interval = 10
	grace    = 10
)

// rig is a server's way from stripes to the disk, with a clock that is set by hand.
type rig struct {
	clock *clock.Manual
	agg   *agg.Aggregator
	store *tsdb.Store
	pump  *flush.Pump
}

// openRig opens a store that keeps what kept says; the zero Policy is the server's default.
func openRig(dir string, series int, at metric.UnixSec, kept metric.Policy) (*rig, error) {
	parser := &ingest.Parser{Limits: metric.DefaultLineLimits}
	r := &rig{
		clock: clock.NewManual(time.Unix(int64(at), 0)),
		agg:   agg.New(agg.Limits{Series: series, SeriesPerMetric: series, Metrics: series}, []agg.Resolver{parser.Resolve}, rand.New(rand.NewPCG(1, 1))),
	}
	var err error
	if r.store, err = tsdb.Open(dir, tsdb.Options{Retention: kept, Fatal: func(s string) { panic(s) }}); err != nil {
		return nil, err
	}
	r.pump = flush.New(r.agg, r.store, flush.Options{Clock: r.clock, Grace: grace * time.Second, Interval: interval * time.Second, Log: slog.New(slog.DiscardHandler)})
	return r, nil
}

func (r *rig) close() error { return errors.Join(r.pump.Close(), r.store.Close()) }

// now is the second that the clock shows.
func (r *rig) now() metric.UnixSec { return metric.SecOf(r.clock.Now()) }

// tick lets a second end, as the pump's loop does.
func (r *rig) tick() error {
	r.clock.Advance(time.Second)
	return r.pump.Tick(r.now())
}

// flush flushes what is sealed.
func (r *rig) flush() error { return r.pump.Flush(r.now() - grace) }

// events are keys, and an event for each of them.
type events struct {
	buf []byte
	raw []agg.Raw
}

// add appends a counter's event. tags is what stands behind the type, `#env:prod`.
func (e *events) add(name, tags string, value float64) {
	x := agg.Raw{Bits: math.Float64bits(value), Name: uint32(len(e.buf)), NameLen: uint16(len(name))}
	e.buf = append(e.buf, name...)
	x.Rest, x.RestLen = uint32(len(e.buf)), uint16(len(tags)+2)
	e.buf = append(append(e.buf, "c|"...), tags...)
	e.raw = append(e.raw, x)
}

// feed counts them at the clock's second.
func (r *rig) feed(e *events) error {
	s := r.agg.Stripe(0)
	s.Lock()
	n := s.Add(e.buf, e.raw, metric.MilliOf(r.clock.Now()))
	s.Unlock()
	if n != len(e.raw) {
		return fmt.Errorf("%d of %d events were accepted", n, len(e.raw))
	}
	return nil
}

// shuffled returns n series with three tags, in an order of no meaning.
func shuffled(n int) *events {
	e := new(events)
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
		e.add(fmt.Sprintf("m%04d", i%1000), fmt.Sprintf("#env:prod,region:us-east-1,host:web-%05d", i/1000), 1)
	}
	return e
}
