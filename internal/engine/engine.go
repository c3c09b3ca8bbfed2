package engine

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/dedupe"
	"cairn/internal/flush"
	"cairn/internal/journal"
	"cairn/internal/metric"
	"cairn/internal/mutant"
	"cairn/internal/tally"
	"cairn/tsdb"
)

// Options says how an Engine is set up.
type Options struct {
	FS  vfs.FS // nil: the disk
	Dir string // the data dir
	// Version is that of cairn, for backups.
	Version string
	Clock   clock.Clock
	Log     *slog.Logger
	Seed    uint64 // of hash functions and of delays
	// Fatal ends the process with a sentence; called where the store or the journal
	// cannot go on. It must not return.
	Fatal func(sentence string)

	Cache         int64
	Retention     metric.Policy // the zero one: the default
	Limits        agg.Limits
	Resolvers     []agg.Resolver // one a stripe that a listener feeds
	Parser        *ingest.Parser // of batches
	Grace         time.Duration
	FlushInterval time.Duration

	JournalSync      bool          // a batch is answered, and a delta kept, once it is on the disk
	JournalUDP       bool          // what listeners feed is journaled every second
	JournalRetention time.Duration // what is in the store is kept as long, for reconciliation
	JournalSize      int64         // but no more bytes of it
	MinFree          int64         // bytes of the disk below which nothing is written; 0: 5%, at most 1 GiB

	// Tests of crashes make these small; 0: the usual.
	failGrace    time.Duration
	segmentBytes int64 // of the journal
	deltaBody    int   // of a delta's records
	bulkRows     int   // from how many series on a flush becomes tables
}

// batchStripes is how many stripes batches are spread over: with one a core two batches
// never wait for one another, and there are two on the smallest host.
const batchStripes = 2

// Engine is what counts and keeps. Make it with Open.
type Engine struct {
	o       Options
	Store   *tsdb.Store
	Agg     *agg.Aggregator
	Pump    *flush.Pump
	Batches *ingest.Batches
	Windows *dedupe.Windows
	Notes   *ingest.Annotations
	Journal *journal.Log
	series  *journal.Log
	disk    *disk
	run     uint64

	tallies *tally.File
	old     []tally.Run // of runs that did not end in order

	verify    alone
	backup    alone
	deletion  alone
	storage   storage
	real      bool // it is on the disk
	replaying atomic.Bool
	stopping  atomic.Bool    // the replay is to end
	ready     chan struct{}  // closed when it is done
	replayed  sync.WaitGroup // its goroutine
	recovered Recovered      // guarded by mu
	mu        sync.Mutex
	lost      lost
	before    tsdb.Totals // what the store held at the start
}

// Recovered is what a start found.
type Recovered struct {
	Events   uint64        // that were in the journal and not in the store
	Records  uint64        // that were read
	Took     time.Duration // of the replay
	Torn     int64         // bytes at the journal's end that were not written to their end
	Damaged  []string      // a sentence for each damaged place
	Lost     uint64        // events that the runs before had taken and not journaled
	Inexact  bool          // Lost is the least: the machine went down too
	Finished bool
}

// Open opens all parts. After an error nothing stays open.
func Open(o Options) (_ *Engine, err error) {
	e := &Engine{o: o, ready: make(chan struct{})}
	real := o.FS == nil
	if real {
		e.o.FS = vfs.Default
	}
	e.real = real
	e.disk = newDisk(&e.o)
	e.storage.open()
	e.replaying.Store(true)
	defer func() {
		if err != nil {
			err = errors.Join(err, e.abandon())
		}
	}()
	if err = requireDataDir(e.o.FS, o.Dir); err != nil {
		return nil, err
	}
	e.Store, err = tsdb.Open(o.Dir, tsdb.Options{FS: e.o.FS, Full: e.disk.wait, Log: o.Log, Cache: o.Cache, Fatal: o.Fatal, BulkRows: o.bulkRows, Retention: o.Retention})
	if err != nil {
		return nil, err
	}
	if err = e.o.FS.RemoveAll(e.o.FS.PathJoin(o.Dir, stagingName)); err != nil {
		return nil, fmt.Errorf("remove what a crash left of a backup: %w", err)
	}
	if err = e.openJournals(real); err != nil {
		return nil, err
	}
	e.stripes()
	if real {
		if err = e.openTallies(); err != nil {
			return nil, err
		}
	}
	notes, err := e.Store.Annotations()
	if err != nil {
		return nil, err
	}
	e.Notes = ingest.NewAnnotations()
	noted := e.Notes.Restore(notes)
	e.Windows = dedupe.New(o.Clock)
	e.before = e.Store.Totals()
	e.lost = lostOf(e.before)
	e.Batches = e.newBatches()
	sure := func() bool { return false }
	if c, ok := o.Clock.(*clock.System); ok {
		sure = c.Sure
	}
	e.Pump = flush.New(e.Agg, e.Store, flush.Options{
		Clock: o.Clock, Grace: o.Grace, Interval: o.FlushInterval, Log: o.Log, Annotations: e.notesSince, Noted: noted,
		Journal: &flush.Journal{Log: e.Journal, Series: e.series, Run: e.run, Freeze: e.Batches.Freeze, DeltaBody: o.deltaBody},
		Beside:  e.beside, Short: e.disk.short, Hold: e.replaying.Load, Sure: sure,
	})
	return e, nil
}

// A segment of the journal is a sixteenth of what is kept of it, so that it goes in
// small steps, within these.
const (
	minSegment = 1 << 20
	maxSegment = 64 << 20
)

func (e *Engine) openJournals(real bool) (err error) {
	if real {
		if e.old, err = tally.Runs(e.o.Dir); err != nil {
			return err
		}
	}
	dir := e.o.FS.PathJoin(e.o.Dir, "journal")
	o := journal.Options{
		FS: e.o.FS, Log: e.o.Log, Clock: e.o.Clock, Sync: e.o.JournalSync, Failed: e.journalFailed,
		Retention: e.o.JournalRetention, RetainBytes: e.o.JournalSize,
		SegmentBytes: cmp.Or(e.o.segmentBytes, max(minSegment, min(maxSegment, e.o.JournalSize/16))),
	}
	// The number of the run is the time at which it begins, but never one that was
	// there before: the clock may have gone back.
	e.run = uint64(max(1, metric.MilliOf(e.o.Clock.Now())))
	for _, r := range e.old {
		e.run = max(e.run, r.Run+1)
	}
	o.After = journal.Pos(e.Store.Cursor().Cut)
	if e.Journal, err = journal.Open(dir, o); err != nil {
		return err
	}
	o.Retention, o.RetainBytes, o.After = 0, 0, 0
	o.Sync = o.Sync && !mutant.On("series-not-synced")
	if e.series, err = journal.Open(e.o.FS.PathJoin(dir, "series"), o); err != nil {
		return err
	}
	e.run = max(e.run, e.Journal.LastEpoch()+1, e.series.LastEpoch()+1, e.Store.Totals().LostEpoch+1)
	e.disk.spare = e.spare
	e.Journal.SetEpoch(e.run)
	e.series.SetEpoch(e.run)
	return nil
}

// spare gives up the part of the journals that only a reconciliation needs.
func (e *Engine) spare() {
	err := e.Journal.Spare()
	if err == nil && !e.replaying.Load() {
		err = e.series.ReleaseBefore(e.Journal.OldestEpoch())
	}
	if err != nil {
		e.o.Log.Warn("the disk is nearly full, and the journal gave up nothing", "error", err)
	}
}

// failGrace is how long those who wait for the journal have to hear that it failed,
// before the process ends.
const failGrace = 250 * time.Millisecond

// journalFailed ends the process: what the kernel has of a file after a failed fsync is
// not known, and a second one that succeeds says nothing.
func (e *Engine) journalFailed(err error) {
	t := time.NewTimer(cmp.Or(e.o.failGrace, failGrace))
	defer t.Stop()
	<-t.C
	e.o.Fatal("the journal cannot go on: " + err.Error())
}

// stripes makes them: those that listeners feed first, then those of batches.
func (e *Engine) stripes() {
	resolvers := append(slices.Clone(e.o.Resolvers), slices.Repeat([]agg.Resolver{e.o.Parser.Resolve}, batchStripes)...)
	e.Agg = agg.New(e.o.Limits, resolvers, rand.New(rand.NewPCG(e.o.Seed, 0)))
	if e.o.JournalUDP {
		for i := range e.o.Resolvers {
			e.Agg.Stripe(i).KeepDeltas()
		}
	}
}

func (e *Engine) openTallies() (err error) {
	e.tallies, err = tally.Create(e.o.Dir, e.run, len(e.o.Resolvers))
	if err != nil {
		return err
	}
	for i := range e.o.Resolvers {
		c := e.tallies.Cell(i)
		e.Agg.Stripe(i).Tally(&c.Accepted, &c.Kept)
	}
	return nil
}

func (e *Engine) notesSince(seq uint64) (list []metric.Annotation, last uint64) {
	last = seq
	for _, n := range e.Notes.Since(seq) {
		list = append(list, n.Annotation)
		last = n.Seq
	}
	return list, last
}

// beside returns what the next flush commits beside sums.
func (e *Engine) beside() (b flush.Beside) {
	for _, s := range e.Windows.Take() {
		b.Sequences = append(b.Sequences, tsdb.Sequence{Producer: s.Producer, Number: s.Sequence, Value: s.Verdict.Append(nil)})
	}
	for _, p := range e.Windows.Expired(metric.MilliOf(e.o.Clock.Now())) {
		b.Forget = append(b.Forget, flush.Forgotten{Producer: p, Below: ^uint64(0)})
	}
	for _, p := range e.Windows.Outgrown() {
		b.Forget = append(b.Forget, flush.Forgotten{Producer: p.Producer, Below: p.Below})
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	b.Totals = e.lost.totals()
	duplicates := e.Batches.Duplicate()
	b.Totals.Duplicates, b.Totals.Amended = e.before.Duplicates+duplicates, e.before.Amended+e.Agg.Counts().Amended
	return b
}

// Replaying reports whether the journal is still being replayed.
func (e *Engine) Replaying() bool { return e.replaying.Load() }

// Recovered returns what the start found so far.
func (e *Engine) Recovered() Recovered {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.recovered
	r.Damaged = slices.Clone(r.Damaged)
	return r
}

// Stripe returns the one of resolver i.
func (e *Engine) Stripe(i int) *agg.Stripe { return e.Agg.Stripe(i) }

// Start begins to watch the disk, to flush, and to replay the journal; failed is
// called if that cannot be done.
func (e *Engine) Start(failed func(error)) {
	e.disk.start()
	e.Pump.Start()
	e.replayed.Go(func() {
		if err := e.Replay(); err != nil && !errors.Is(err, errStopped) {
			failed(err)
		}
	})
}

// Ready is closed once the journal is replayed.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Close flushes everything and closes all parts. Nothing may be fed any more. If the
// replay is not done, what came is journaled only, and the next start goes on.
func (e *Engine) Close() error {
	var errs []error
	e.disk.hurry()
	e.verify.close()
	e.backup.close()
	e.deletion.close()
	e.storage.close()
	e.Batches.Close()
	e.stopping.Store(true)
	e.replayed.Wait()
	errs = append(errs, e.Pump.Close())
	e.disk.close()
	errs = append(errs, e.Journal.Close(), e.series.Close())
	// Without a replay nothing was flushed.
	lossless := errors.Join(errs...) == nil && (e.o.JournalUDP || !e.replaying.Load())
	if e.tallies != nil && lossless {
		errs = append(errs, e.tallies.Close())
	}
	errs = append(errs, e.Store.Close())
	return errors.Join(errs...)
}

// abandon closes what Open had opened.
func (e *Engine) abandon() error {
	var errs []error
	e.storage.close()
	e.disk.close()
	if e.tallies != nil {
		errs = append(errs, e.tallies.Close())
	}
	for _, l := range []*journal.Log{e.Journal, e.series} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if e.Store != nil {
		errs = append(errs, e.Store.Close())
	}
	return errors.Join(errs...)
}

// errOf prefixes an error of the replay.
func errOf(err error) error { return fmt.Errorf("replay the journal: %w", err) }
