package engine

import (
	"fmt"

	"cairn/internal/flush"
	"cairn/internal/journal"
	"cairn/internal/mutant"
	"cairn/internal/tally"
	"cairn/tsdb"
)

// lost is what crashes have cost, over the life of the data dir.
type lost struct {
	events uint64
	run    uint64 // the last one that is accounted for
}

func lostOf(t tsdb.Totals) lost { return lost{t.Lost, t.LostEpoch} }

// totals is lost as the store keeps it.
func (l *lost) totals() tsdb.Totals { return tsdb.Totals{Lost: l.events, LostEpoch: l.run} }

// replayed adds losses that the journal tells of, and the store does not know yet.
func (l *lost) replayed(list []flush.Lost) {
	for _, x := range list {
		if x.Run > l.run {
			l.events += x.Events
			l.run = x.Run
		}
	}
}

// accountLosses finds out what each run that did not end in order had taken and not
// journaled, and writes it down before it lets go of the figures.
func (e *Engine) accountLosses(r *replay) error {
	for i := range e.old {
		old := &e.old[i]
		l := flush.Lost{Run: old.Run, Events: lossOf(old, r.kept), Exact: old.SameBoot}
		e.mu.Lock()
		known := old.Run <= e.lost.run
		e.mu.Unlock()
		if !known {
			// Said first: a crash between the two says it once more, not never.
			e.o.Log.Warn("the process did not end in order", "run", l.Run, "events_lost", l.Events, "exact", l.Exact)
			if err := e.writeLoss(&l); err != nil {
				return err
			}
			e.mu.Lock()
			e.lost.events += l.Events
			e.lost.run = l.Run
			e.recovered.Lost += l.Events
			e.recovered.Inexact = e.recovered.Inexact || !l.Exact
			e.mu.Unlock()
		}
		if err := old.Remove(); err != nil {
			return err
		}
	}
	e.old = nil
	return nil
}

func (e *Engine) writeLoss(l *flush.Lost) error {
	if mutant.On("loss-not-written") {
		return nil
	}
	if err := e.Journal.Append(&journal.Record{Kind: flush.KindLost, Head: l.Append(nil)}).Wait(); err != nil {
		return fmt.Errorf("write down what was lost: %w", err)
	}
	return nil
}

// lossOf is what the stripes of a run had accepted and not journaled. A record may have
// become durable without the run having been told.
func lossOf(old *tally.Run, kept map[place]uint64) (events uint64) {
	for i, c := range old.Cells {
		if k := max(c.Kept, kept[place{old.Run, uint32(i)}]); c.Accepted > k {
			events += c.Accepted - k
		}
	}
	return events
}
