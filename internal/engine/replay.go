package engine

import (
	"errors"
	"fmt"
	"slices"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/bucket"
	"cairn/internal/dedupe"
	"cairn/internal/flush"
	"cairn/internal/journal"
	"cairn/internal/metric"
	"cairn/internal/mutant"
	"cairn/tsdb"
)

// Replay adds what the journal has and the store has not. Flushes and batches wait
// until it is done; it is called once.
func (e *Engine) Replay() error {
	begin := e.o.Clock.Now()
	r := replay{e: e, cursor: e.Store.Cursor(), stripe: e.Agg.Stripe(len(e.o.Resolvers)), batches: ingest.NewReplayer(e.o.Parser), runs: make(map[uint64][]known)}
	// Only runs that wrote something from there on: a process that dies again and again
	// leaves all series each time.
	from := e.series.Begin(e.Journal.EpochFrom(journal.Pos(r.cursor.Oldest)))
	names, err := e.series.Replay(from, func(_ journal.Pos, rec *journal.Record) error { return r.names.Add(rec) })
	if err != nil {
		return errOf(err)
	}
	err = e.Store.Sequences(func(producer [16]byte, number uint64, value []byte) error {
		v, err := dedupe.DecodeVerdict(value)
		if err == nil {
			e.Windows.Load(producer, number, v)
		}
		return err
	})
	if err != nil {
		return errOf(err)
	}
	r.stripe.Trust(true)
	found, err := e.Journal.Replay(journal.Pos(r.cursor.Oldest), r.record)
	r.stripe.Trust(false)
	if err != nil {
		return errOf(err)
	}
	e.note(&r, &found, names.Damage)
	if err := e.accountLosses(&r); err != nil {
		return errOf(err)
	}
	// What nothing is needed of can go before the first flush, which a disk without room
	// keeps waiting.
	if err := e.Journal.Release(journal.Pos(r.cursor.Oldest)); err != nil {
		e.o.Log.Warn("the journal keeps what is not needed any more", "error", err)
	}
	took := e.o.Clock.Now().Sub(begin)
	e.mu.Lock()
	e.recovered.Took, e.recovered.Finished = took, true
	e.mu.Unlock()
	if found.Records > 0 {
		e.o.Log.Info("the journal is replayed", "records", found.Records, "events", r.events, "took", took)
	}
	e.replaying.Store(false)
	close(e.ready)
	return nil
}

// note takes over what the replay found, and says what was damaged.
func (e *Engine) note(r *replay, found *journal.Recovery, names []journal.Damage) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.recovered.Events, e.recovered.Records, e.recovered.Torn = r.events, found.Records, found.TornBytes
	for _, d := range slices.Concat(names, found.Damage) {
		e.recovered.Damaged = append(e.recovered.Damaged, d.String())
		e.o.Log.Error("the journal is damaged; what could be read counts, the rest is kept in its quarantine", "where", d.String())
	}
	if r.unnamed > 0 {
		s := fmt.Sprintf("%d events that came by datagram are lost: the journal of series does not say which series they are of (the first is %d of run %d); it was removed, or is damaged", r.unnamed, r.nameless.n, r.nameless.run)
		e.recovered.Damaged = append(e.recovered.Damaged, s)
		e.o.Log.Error("the journal is damaged", "where", s)
	}
	e.lost.replayed(r.lost)
	if at := r.cursor.Journaled; found.Total < at {
		e.recovered.Damaged = append(e.recovered.Damaged, fmt.Sprintf("the journal ends %d events before what the store knows of it", at-found.Total))
		e.o.Log.Error("the journal ends before what the store knows of it: was it removed, or restored from elsewhere?", "events", at-found.Total)
	}
}

// replay is the state of one.
type replay struct {
	e       *Engine
	cursor  tsdb.Cursor
	stripe  *agg.Stripe
	batches *ingest.Replayer
	names   flush.Dictionary
	runs    map[uint64][]known // by handle
	run     uint64             // the last one that was asked for,
	handles []known            // and its list
	begun   map[place]*begun
	kept    map[place]uint64 // events of stripes that are in the journal, as far as records tell
	lost    []flush.Lost
	events  uint64

	unnamed  uint64 // events of series that nothing names
	nameless place  // the first of them
}

// place is a stripe or a handle of a run.
type place struct {
	run uint64
	n   uint32
}

// begun is a delta whose last record has not come yet.
type begun struct {
	number uint64
	parts  []part
}

type part struct {
	pos  journal.Pos
	body []byte
}

// errStopped ends a replay that is not needed any more.
var errStopped = errors.New("stopped")

// record takes one record.
func (r *replay) record(pos journal.Pos, rec *journal.Record) error {
	if r.e.stopping.Load() {
		return errStopped
	}
	var err error
	switch rec.Kind {
	case ingest.RecordBatch:
		err = r.batch(pos, rec)
	case flush.KindDelta:
		err = r.delta(pos, rec)
	case flush.KindLost:
		var l flush.Lost
		if l, err = flush.DecodeLost(rec.Head); err == nil && !r.before(pos) {
			r.lost = append(r.lost, l)
		}
	default:
		err = fmt.Errorf("a record of kind %d, which this version of cairn does not read", rec.Kind)
	}
	if err != nil {
		return fmt.Errorf("segment and offset %v of %s: %w; start the version of cairn that wrote it, stop it in order, which leaves nothing to replay, and then start this one", pos, r.e.o.FS.PathJoin(r.e.o.Dir, "journal"), err)
	}
	return nil
}

// before reports whether a position is below the cut.
func (r *replay) before(pos journal.Pos) bool { return uint64(pos) < r.cursor.Cut }

// missing reports whether the store does not have an event of a second that lies at
// pos.
func (r *replay) missing(pos journal.Pos, sec metric.UnixSec) bool {
	switch {
	case mutant.On("late-dropped-at-replay"):
		return sec >= r.cursor.Watermark
	case mutant.On("all-replayed"):
		return true
	}
	return sec >= r.cursor.Watermark || !r.before(pos)
}

func (r *replay) batch(pos journal.Pos, rec *journal.Record) error {
	b, err := ingest.DecodeRecord(rec)
	if err != nil {
		return err
	}
	if b.Named && mutant.On("replay-believes-windows") {
		o := r.e.Windows.Begin(b.Producer, b.Sequence, b.Verdict.Hash)
		if o.Status != dedupe.Fresh {
			return nil
		}
		r.e.Windows.Abandon(b.Producer, b.Sequence)
	}
	var notes *ingest.Annotations
	if !r.before(pos) {
		notes = r.e.Notes
	}
	done, err := r.batches.Replay(&b, r.stripe, func(sec metric.UnixSec) bool { return r.missing(pos, sec) }, notes)
	if err != nil {
		return err
	}
	if done.Refused > 0 {
		return fmt.Errorf("%d events of a batch are refused (%s) that had been accepted", done.Refused, done.Reason)
	}
	r.events += uint64(done.Applied)
	if b.Named && !r.before(pos) {
		r.e.Windows.Restore(b.Producer, b.Sequence, b.Verdict)
	}
	return nil
}

func (r *replay) delta(pos journal.Pos, rec *journal.Record) error {
	h, err := flush.DecodeDeltaHead(rec.Head)
	if err != nil {
		return err
	}
	at := place{h.Run, h.Stripe}
	if r.begun == nil {
		r.begun, r.kept = make(map[place]*begun), make(map[place]uint64)
	}
	d := r.begun[at]
	if d == nil || d.number != h.Number {
		d = &begun{number: h.Number} // one that was begun before was written again
		r.begun[at] = d
	}
	if !h.Last && mutant.On("unfinished-delta-counts") {
		return r.apply(h.Run, part{pos, rec.Body})
	}
	if !h.Last {
		d.parts = append(d.parts, part{pos, slices.Clone(rec.Body)})
		return nil
	}
	delete(r.begun, at)
	r.kept[at] = max(r.kept[at], h.Kept)
	for _, p := range append(d.parts, part{pos, rec.Body}) {
		if err := r.apply(h.Run, p); err != nil {
			return err
		}
	}
	return nil
}

// apply restores what a part of a delta holds and the store does not.
func (r *replay) apply(run uint64, p part) error {
	s := r.stripe
	s.Lock()
	defer s.Unlock()
	return agg.DecodeDelta(p.body, agg.DeltaVisitor{
		Sum: func(slot agg.Handle, sec metric.UnixSec, events uint32, sum float64) error {
			if !r.missing(p.pos, sec) {
				return nil
			}
			if h, ok := r.handle(run, slot, metric.Counter, events); ok {
				s.Restore(h, sec, events, sum)
			}
			return nil
		},
		Bucket: func(slot agg.Handle, sec metric.UnixSec, events uint32, b bucket.Bucket) error {
			if !r.missing(p.pos, sec) {
				return nil
			}
			if h, ok := r.handle(run, slot, b.Kind(), events); ok {
				s.RestoreBucket(h, sec, events, b)
			}
			return nil
		},
	})
}

// handle returns what the series of a handle of an earlier run is now, for some events
// of that kind. It is false if nothing names it: the loss is told, and keeps nobody
// from starting, because nothing would ever bring the name back.
func (r *replay) handle(run uint64, slot agg.Handle, kind metric.Kind, events uint32) (agg.Handle, bool) {
	list := r.handles
	if r.run != run || list == nil {
		if list = r.runs[run]; list == nil {
			list = make([]known, r.names.Len(run))
			r.runs[run] = list
		}
		r.run, r.handles = run, list
	}
	if int(slot) >= len(list) {
		list = nil
	} else if list[slot].kind == 0 {
		if s, named := r.names.Series(run, uint32(slot)); named {
			list[slot] = known{r.e.Agg.Registry.Recall(s), s.Kind}
		}
	}
	if list == nil || list[slot].kind != kind {
		if r.unnamed == 0 {
			r.nameless = place{run, uint32(slot)}
		}
		r.unnamed += uint64(events)
		return 0, false
	}
	k := list[slot]
	r.events += uint64(events)
	return k.handle, true
}

// known is what a handle of an earlier run is now; kind 0: nobody has asked yet, or
// nothing names it.
type known struct {
	handle agg.Handle
	kind   metric.Kind
}
