package flush

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/tsdb"
)

// Options says when buckets are sealed and flushed.
type Options struct {
	Clock    clock.Clock
	Grace    time.Duration // how long after its end a bucket stays open
	Interval time.Duration // between flushes; a multiple of a second
	Log      *slog.Logger
	// Annotations returns those that came after number since, the oldest first,
	// and the number of the last one. nil: there are none.
	Annotations func(since uint64) (list []metric.Annotation, last uint64)
	Noted       uint64 // the number of the last one that is in the store already
}

// maxEntries of list entries in the stripes bring the next flush forward: 64 MiB,
// and what the series that there are put into the open seconds. A sender that
// replays an hour of timestamped events fills memory faster than the clock seals it.
const (
	maxEntries          = 4 << 20
	maxEntriesPerSeries = 8
)

// Pump moves sealed buckets from the stripes to the store. Make it with New.
type Pump struct {
	o     Options
	agg   *agg.Aggregator
	store *tsdb.Store

	flushing sync.Mutex // held by the one flush at a time; guards those below
	refs     []tsdb.Ref // by handle; the zero Ref: not known yet
	noted    uint64     // number of the last annotation in the store

	view     sync.RWMutex // guards those below, and the move of sums between them
	snapshot *sharedSnapshot
	frozen   *agg.Sealed
	stored   uint64 // events committed since New
	inStore  []bool // by handle: the series is known to be in the store's index
	closed   bool

	stats stats

	// commitHook, if a test sets it, can fail a flush before its commit.
	commitHook func() error

	stop context.CancelFunc
	done chan struct{}
}

type stats struct {
	flushes, failed atomic.Uint64
	series          atomic.Uint64 // of the last flush
	last, longest   atomic.Int64  // nanoseconds
}

// New returns a pump over a and store. Close gives it up.
func New(a *agg.Aggregator, store *tsdb.Store, o Options) *Pump {
	return &Pump{o: o, agg: a, store: store, snapshot: share(store.Snapshot()), frozen: new(agg.Sealed), noted: o.Noted}
}

// Start begins to flush in the background.
func (p *Pump) Start() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.done = stop, make(chan struct{})
	go func() {
		defer close(p.done)
		p.loop(ctx)
	}()
}

// loop wakes at every full second: a flush is due when the clock passes a
// multiple of the interval, or earlier if the stripes hold too much.
func (p *Pump) loop(ctx context.Context) {
	interval := max(1, int64(p.o.Interval/time.Second))
	due := (metric.SecOf(p.o.Clock.Now()) + 1).Ceil(interval)
	for {
		now := p.o.Clock.Now()
		timer := time.NewTimer(now.Truncate(time.Second).Add(time.Second).Sub(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		sec := metric.SecOf(p.o.Clock.Now())
		if sec < due && p.agg.Entries() < maxEntries+maxEntriesPerSeries*p.agg.Registry.Len() {
			p.pack(sec)
			continue
		}
		if sec >= due {
			due = (sec + 1).Ceil(interval)
		}
		if err := p.Flush(p.watermark()); err != nil {
			p.o.Log.Error("flush failed; its buckets stay in memory and are tried again", "error", err)
		}
	}
}

// pack packs the seconds that have just ended: the one before now may still get
// sums from slots whose series have not counted again.
func (p *Pump) pack(now metric.UnixSec) {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	p.agg.Pack(now - 1)
}

// watermark is the second before which buckets are sealed now.
func (p *Pump) watermark() metric.UnixSec {
	return metric.SecOf(p.o.Clock.Now().Add(-p.o.Grace))
}

// Flush commits all sums of seconds before w, and what an earlier flush could
// not commit.
func (p *Pump) Flush(w metric.UnixSec) error {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	begin := p.o.Clock.Now()
	p.agg.Spill(w)
	p.view.Lock()
	p.frozen.Add(p.agg.Detach(w))
	frozen := p.frozen
	p.view.Unlock()
	notes, last := p.newAnnotations()
	if frozen.Empty() && len(notes) == 0 {
		return nil
	}
	if err := p.commit(frozen, notes, last, w); err != nil {
		p.stats.failed.Add(1)
		return err
	}
	took := int64(p.o.Clock.Now().Sub(begin))
	p.stats.flushes.Add(1)
	p.stats.last.Store(took)
	p.stats.longest.Store(max(took, p.stats.longest.Load()))
	return nil
}

// newAnnotations returns those that are not in the store, and the last one's number.
func (p *Pump) newAnnotations() (list []metric.Annotation, last uint64) {
	if p.o.Annotations == nil {
		return nil, 0
	}
	return p.o.Annotations(p.noted)
}

func (p *Pump) commit(frozen *agg.Sealed, notes []metric.Annotation, last uint64, w metric.UnixSec) error {
	b := p.store.NewBatch()
	var added []agg.Handle // whose refs are only good once the batch is committed
	forget := func() {
		for _, h := range added {
			p.refs[h] = tsdb.Ref{}
		}
	}
	series := uint64(0)
	ref := func(h agg.Handle) (tsdb.Ref, error) {
		series++
		for int(h) >= len(p.refs) {
			p.refs = append(p.refs, tsdb.Ref{})
		}
		if p.refs[h] == (tsdb.Ref{}) {
			r, err := b.Ref(p.agg.Registry.Series(h))
			if err != nil {
				return r, err
			}
			p.refs[h] = r
			added = append(added, h)
		}
		return p.refs[h], nil
	}
	err := frozen.Counters(func(h agg.Handle, sums []metric.Sum) error {
		r, err := ref(h)
		if err != nil {
			return err
		}
		return b.Add(r, sums)
	})
	if err == nil {
		err = frozen.Buckets(func(h agg.Handle, dated []bucket.Dated) error {
			r, err := ref(h)
			if err != nil {
				return err
			}
			return b.AddBuckets(r, dated)
		})
	}
	b.AddAnnotations(notes)
	if err == nil && p.commitHook != nil {
		err = p.commitHook()
	}
	if err != nil {
		forget()
		b.Discard()
		return fmt.Errorf("flush: %w", err)
	}
	b.SetCursor(max(w, p.store.Cursor()))
	if err := b.Commit(); err != nil {
		forget()
		b.Discard()
		return fmt.Errorf("flush: %w", err)
	}
	p.noted = max(p.noted, last)
	p.stats.series.Store(series)
	p.publish(b, frozen, added)
	return nil
}

// publish lets queries see the store with the batch in it, and no longer the
// buckets that it came from.
func (p *Pump) publish(b *tsdb.Batch, frozen *agg.Sealed, added []agg.Handle) {
	next := share(p.store.Snapshot())
	p.view.Lock()
	b.Publish()
	old := p.snapshot
	p.snapshot = next
	p.stored += frozen.Events()
	p.frozen = new(agg.Sealed)
	p.inStore = append(p.inStore, make([]bool, len(p.refs)-len(p.inStore))...)
	for _, h := range added {
		p.inStore[h] = true
	}
	p.view.Unlock()
	old.release(p.o.Log)
	frozen.Release() // no query holds it: they read it under the view's lock
}

// Close flushes everything that is left, open buckets included, and gives up the
// view. Nothing may be added to the stripes any more.
func (p *Pump) Close() error {
	if p.stop != nil {
		p.stop()
		<-p.done
	}
	err := p.flushAll()
	p.view.Lock()
	old := p.snapshot
	closed := p.closed
	p.closed = true
	p.view.Unlock()
	if !closed {
		old.release(p.o.Log)
	}
	return err
}

func (p *Pump) flushAll() error {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	p.agg.Spill(metric.MaxSec)
	p.view.Lock()
	p.frozen.Add(p.agg.Detach(metric.MaxSec))
	frozen := p.frozen
	p.view.Unlock()
	notes, last := p.newAnnotations()
	if frozen.Empty() && len(notes) == 0 {
		return nil
	}
	return p.commit(frozen, notes, last, metric.SecOf(p.o.Clock.Now())+1)
}

// Stats describes the pump's work since New.
type Stats struct {
	Flushes, Failed uint64
	Series          uint64 // of the last flush
	Last, Longest   time.Duration
	Accepted        uint64 // events: taken by the stripes,
	Open            uint64 // of them still there,
	Frozen          uint64 // being flushed,
	Stored          uint64 // and in the store
}

// Stats returns figures of one instant.
func (p *Pump) Stats() Stats {
	p.view.RLock()
	defer p.view.RUnlock()
	c := p.agg.Counts()
	return Stats{
		Flushes: p.stats.flushes.Load(), Failed: p.stats.failed.Load(), Series: p.stats.series.Load(),
		Last: time.Duration(p.stats.last.Load()), Longest: time.Duration(p.stats.longest.Load()),
		Accepted: c.Accepted, Open: c.Open, Frozen: p.frozen.Events(), Stored: p.stored,
	}
}

// Imbalance is the number of events that are neither open, nor being flushed,
// nor stored; it is 0.
func (s Stats) Imbalance() int64 {
	return int64(s.Accepted) - int64(s.Open) - int64(s.Frozen) - int64(s.Stored)
}
