package flush

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/clock"
	"cairn/internal/journal"
	"cairn/internal/metric"
	"cairn/internal/mutant"
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
	// Journal has what is not in the store yet. nil: what a crash loses is what was
	// not flushed.
	Journal *Journal
	// Beside returns what is to be committed beside sums; it is asked while no batch
	// is being applied. nil: nothing.
	Beside func() Beside
	// Short says why nothing may be written now: the disk is nearly full. nil, or an
	// error.
	Short func() error
	// Sure reports whether other clocks confirm what Clock shows. nil: that is not known.
	Sure func() bool
	// Hold reports whether flushes must wait: the stripes do not have all that is
	// below the journal's end yet. nil: never.
	Hold func() bool
}

// Beside is what a flush commits beside sums.
type Beside struct {
	Sequences []tsdb.Sequence
	Forget    []Forgotten
	// Totals are the parts of the store's totals that it does not add up itself.
	Totals tsdb.Totals
}

// Forgotten is a producer of which the store need not know sequences below.
type Forgotten struct {
	Producer [16]byte
	Below    uint64
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
	left     *collected // what a flush that failed has left
	beside   Beside     // what belongs to it, or to what is collected now
	known    int        // handles that the journal of series has
	deltas   uint64     // number of the last delta
	expiry   expiry
	touched  touched

	view     sync.RWMutex // guards those below, and the move of sums between them
	snapshot *sharedSnapshot
	frozen   *agg.Sealed
	stored   uint64  // events committed since New
	units    float64 // the same in units
	inStore  []bool  // by handle: the series is, or was, in the store's index
	places   places
	version  uint64 // of what queries see of the store
	changes  []change
	closed   bool

	stats               stats
	ticking, committing complaint // the loop's

	// commitHook, if a test sets it, can fail a flush before its commit.
	commitHook func() error
	// collectHook, if a test sets it, runs between a Collect's scan and its commit, and can
	// fail it.
	collectHook func() error

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
	p.agg.Seal(p.watermark())
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
		err := p.Tick(sec)
		p.ticking.tell(p.o.Log, err, "what came lately is in memory only; it is tried again every second", "what came lately is written again")
		if sec >= due || p.agg.Entries() >= maxEntries+maxEntriesPerSeries*p.agg.Registry.Len() {
			if sec >= due {
				due = (sec + 1).Ceil(interval)
			}
			if err == nil { // else it would fail for the same reason
				err = p.Flush(p.watermark())
				p.committing.tell(p.o.Log, err, "what came lately cannot be stored; it is kept, and tried again with the next flush", "what came lately is stored again")
			}
		}
		p.expire(ctx)
	}
}

// Tick packs the second that has just ended, and journals what came. The loop
// calls it every second; nobody else need, unless there is no loop.
func (p *Pump) Tick(now metric.UnixSec) error {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	p.agg.Seal(p.watermark())
	p.agg.Spill(now)
	p.agg.Pack(now)
	if err := p.short(); err != nil {
		return err
	}
	return p.keepDeltas()
}

// Pause calls do when all that came by datagram until now is in the journal, and keeps
// flushes and what they change, the store and the oldest position, as they are until it
// returns. Batches go on.
func (p *Pump) Pause(do func() error) error {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	p.agg.Spill(metric.MaxSec)
	if err := errors.Join(p.short(), p.keepDeltas()); err != nil {
		return err
	}
	return do()
}

func (p *Pump) holding() bool { return p.o.Hold != nil && p.o.Hold() }

func (p *Pump) short() error {
	if p.o.Short == nil {
		return nil
	}
	return p.o.Short()
}

// watermark is the second before which buckets are sealed now.
func (p *Pump) watermark() metric.UnixSec {
	return metric.SecOf(p.o.Clock.Now().Add(-p.o.Grace))
}

// Flush commits all sums of seconds before w, what amends earlier ones, and what an
// earlier flush could not commit.
func (p *Pump) Flush(w metric.UnixSec) error {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	if mutant.On("watermark-goes-back") {
		return p.flush(w, false)
	}
	return p.flush(max(w, p.store.Cursor().Watermark), false)
}

// flush is Flush, of everything if all is set. What is before the watermark and
// below the cut must be in the store, so w does not go back.
func (p *Pump) flush(w metric.UnixSec, all bool) error {
	begin := p.o.Clock.Now()
	short := p.short()
	if short != nil && !all {
		return short
	}
	until := w
	if all {
		until = metric.MaxSec
	}
	p.agg.Spill(until)
	// What comes last is worth what the floor leaves: nobody has it once the process ends.
	if err := errors.Join(p.keepDeltas(), short); err != nil {
		return err
	}
	if p.holding() {
		return nil // what came is in the journal
	}
	if p.left != nil {
		if err := p.finish(*p.left, begin); err != nil {
			return err
		}
		begin = p.o.Clock.Now()
		w = max(w, p.store.Cursor().Watermark)
		until = max(until, w)
	}
	f := p.cut(w, until)
	if all {
		f.cursor.Oldest = f.cursor.Cut
	}
	if f.frozen.Empty() && len(f.notes) == 0 && len(p.beside.Sequences) == 0 && f.cursor.Oldest == p.store.Cursor().Oldest {
		return nil
	}
	return p.finish(f, begin)
}

// finish commits what was collected, and lets go of what of the journal is in the
// store. What cannot be committed is left for the next flush, and until then nothing
// more is taken out of the stripes: they bound what they hold, and then shed.
func (p *Pump) finish(f collected, begin time.Time) error {
	if err := p.commit(f); err != nil {
		p.stats.failed.Add(1)
		p.left = &f
		return err
	}
	p.left = nil
	took := int64(p.o.Clock.Now().Sub(begin))
	p.stats.flushes.Add(1)
	p.stats.last.Store(took)
	p.stats.longest.Store(max(took, p.stats.longest.Load()))
	if p.o.Journal == nil {
		return nil
	}
	return p.release(journal.Pos(f.cursor.Oldest))
}

// collected is what one flush commits.
type collected struct {
	frozen *agg.Sealed
	notes  []metric.Annotation
	noted  uint64 // number of the last of them
	cursor tsdb.Cursor
}

// cut takes what is before until out of the stripes, at an instant at which
// everything below the journal's end is in them, and nothing above it is.
func (p *Pump) cut(w, until metric.UnixSec) (f collected) {
	thaw := func() {}
	if p.o.Journal != nil && p.o.Journal.Freeze != nil && !mutant.On("cut-without-barrier") {
		thaw = p.o.Journal.Freeze()
		// A batch may have waited for the disk for longer than the grace period.
		for i := range p.agg.Len() {
			if s := p.agg.Stripe(i); !s.KeepsDeltas() && !mutant.On("slots-not-spilled") {
				s.Spill(until)
			}
		}
	}
	defer thaw()
	f.cursor = p.store.Cursor()
	f.cursor.Watermark = w
	p.view.Lock()
	p.frozen.Add(p.agg.Detach(until))
	f.frozen = p.frozen
	p.view.Unlock()
	if j := p.o.Journal; j != nil {
		cut, events := j.Log.EndEvents()
		f.cursor.Cut, f.cursor.Journaled = uint64(cut), events
		// What lies below the oldest position is in the store, also what is not before
		// the watermark: a close flushes that too, and its segment tells of it still.
		f.cursor.Oldest = max(f.cursor.Oldest, uint64(j.Log.Oldest(cut, w)))
		if mutant.On("oldest-is-cut") {
			f.cursor.Oldest = f.cursor.Cut
		}
	}
	if p.o.Beside != nil {
		b := p.o.Beside()
		p.beside.Sequences = append(p.beside.Sequences, b.Sequences...)
		p.beside.Forget = append(p.beside.Forget, b.Forget...)
		p.beside.Totals = b.Totals
	}
	f.notes, f.noted = p.newAnnotations()
	return f
}

// newAnnotations returns those that are not in the store, and the last one's number.
func (p *Pump) newAnnotations() (list []metric.Annotation, last uint64) {
	if p.o.Annotations == nil {
		return nil, 0
	}
	return p.o.Annotations(p.noted)
}

func (p *Pump) commit(f collected) error {
	frozen := f.frozen
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
	err := p.addAll(b, frozen, ref)
	b.AddAnnotations(f.notes)
	b.AddSequences(p.beside.Sequences)
	for _, o := range p.beside.Forget {
		b.ForgetSequences(o.Producer, o.Below)
	}
	if p.o.Beside != nil {
		b.SetTotals(p.beside.Totals)
	}
	if err == nil && p.commitHook != nil {
		err = p.commitHook()
	}
	if err != nil {
		forget()
		b.Discard()
		return fmt.Errorf("flush: %w", err)
	}
	b.SetCursor(f.cursor)
	if err := b.Commit(); err != nil {
		forget()
		b.Discard()
		return fmt.Errorf("flush: %w", err)
	}
	p.noted = max(p.noted, f.noted)
	p.beside = Beside{}
	p.stats.series.Store(series)
	p.publish(b, frozen, added)
	return nil
}

// addAll adds what is frozen to a batch. ref returns a series' place in the store.
func (p *Pump) addAll(b *tsdb.Batch, frozen *agg.Sealed, ref func(agg.Handle) (tsdb.Ref, error)) error {
	p.touched.begin()
	err := frozen.Counters(func(h agg.Handle, sums []metric.Sum) error {
		r, err := ref(h)
		if err != nil {
			return err
		}
		p.touched.add(p.agg.Registry, h, sums[0].Sec)
		return b.Add(r, sums)
	})
	if err == nil {
		err = frozen.Buckets(func(h agg.Handle, dated []bucket.Dated) error {
			r, err := ref(h)
			if err != nil {
				return err
			}
			for i := range dated {
				p.touched.add(p.agg.Registry, h, dated[i].Sec)
			}
			return b.AddBuckets(r, dated)
		})
	}
	return err
}

// publish lets queries see the store with the batch in it, and no longer the
// buckets that it came from.
func (p *Pump) publish(b *tsdb.Batch, frozen *agg.Sealed, added []agg.Handle) {
	next := share(p.store.Snapshot())
	c := p.touched.change(p.agg.Registry)
	p.view.Lock()
	b.Publish()
	p.changed(c)
	old := p.snapshot
	p.snapshot = next
	p.stored += frozen.Events()
	p.units += frozen.Units()
	p.frozen = new(agg.Sealed)
	p.inStore = append(p.inStore, make([]bool, len(p.refs)-len(p.inStore))...)
	for _, h := range added {
		p.inStore[h] = true
		p.places.set(h, p.refs[h])
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
		p.expiry.collects.Wait()
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
	return p.flush(max(p.watermark(), p.store.Cursor().Watermark), true)
}
