package flush

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"

	"cairn/agg"
	"cairn/internal/journal"
	"cairn/internal/metric"
	"cairn/internal/mutant"
)

// Journal is where the pump writes what is not in the store yet.
type Journal struct {
	Log    *journal.Log
	Series *journal.Log // tells which series the handles in deltas are
	Run    uint64       // number of this run of the process
	// Freeze keeps batches from being journaled and applied until thaw is called:
	// then all that are below the end of Log are applied, and no other. nil: there
	// are none.
	Freeze func() (thaw func())
	// DeltaBody is about how long the body of a delta's record gets; tests of crashes
	// set it, so that a delta takes several. 0: as long as it may well be.
	DeltaBody int
}

const (
	// deltaBody is about how long the body of one record gets: well below what a
	// record may hold, and so long that a million series take one.
	deltaBody = 16 << 20
	// seriesBody is the same for records of series, and seriesPending how many of them may
	// wait for the disk: as many as a sync is worth, far below what the journal takes.
	seriesBody    = 1 << 20
	seriesPending = 32
)

// keepDeltas journals what came to the stripes since the last time, synced. After an
// error the same is tried again with the next one. The caller holds flushing.
func (p *Pump) keepDeltas() error {
	if p.o.Journal == nil {
		return nil
	}
	var deltas []*agg.Delta
	var stripes []int
	for i := range p.agg.Len() {
		if s := p.agg.Stripe(i); s.KeepsDeltas() {
			if d := s.Delta(); !d.Empty() {
				deltas, stripes = append(deltas, d), append(stripes, i)
			}
		}
	}
	if len(deltas) == 0 {
		return nil
	}
	if err := p.keepSeries(); err != nil {
		return err
	}
	// The last records of all stripes become durable together.
	pending := make([]*journal.Ticket, len(deltas))
	var failed error
	for i, d := range deltas {
		var err error
		if pending[i], err = p.appendDelta(d, stripes[i]); err != nil {
			failed = cmp.Or(failed, err)
		}
	}
	for i, d := range deltas {
		if pending[i] == nil {
			continue
		}
		if mutant.On("kept-before-sync") {
			d.Keep()
			continue
		}
		if err := pending[i].Wait(); err != nil {
			failed = cmp.Or(failed, err)
		} else {
			d.Keep()
		}
	}
	if failed != nil {
		return fmt.Errorf("journal what came by datagram: %w", failed)
	}
	return nil
}

// appendDelta appends the records of a delta, and returns the ticket of the last one.
// Each but the first comes when the one before it is durable: a last one whose
// predecessors found no room would count in a replay, beside the delta that is written
// instead.
func (p *Pump) appendDelta(d *agg.Delta, stripe int) (t *journal.Ticket, err error) {
	p.deltas++
	h := DeltaHead{Run: p.o.Journal.Run, Stripe: uint32(stripe), Number: p.deltas, Kept: p.agg.Stripe(stripe).Counts().Kept}
	var last *journal.Record // held back, so that it can say that it is the last one
	flush := func(final bool) error {
		if last == nil {
			return nil
		}
		if t != nil {
			if err := t.Wait(); err != nil {
				return err
			}
		}
		h.Last = final
		h.Kept += last.Events
		last.Head = h.Append(last.Head[:0])
		t = p.o.Journal.Log.Append(last)
		return nil
	}
	err = d.Encode(cmp.Or(p.o.Journal.DeltaBody, deltaBody), func(body []byte, events uint64, sec metric.UnixSec) error {
		if err := flush(false); err != nil {
			return err
		}
		if last == nil {
			last = &journal.Record{Kind: KindDelta}
		}
		last.Body = append(last.Body[:0], body...)
		last.Events, last.Last = events, sec
		return nil
	})
	if err == nil {
		err = flush(true)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// keepSeries journals the series that have come up since the last time, synced. After
// an error it goes on where it got to.
func (p *Pump) keepSeries() error {
	n := p.agg.Registry.Len()
	type written struct {
		t    *journal.Ticket
		next int // handle behind those in the record
	}
	var body []byte
	var pending []written
	settle := func(most int) error {
		for len(pending) > most {
			if err := pending[0].t.Wait(); err != nil {
				return fmt.Errorf("journal new series: %w", err)
			}
			p.known = pending[0].next
			pending = pending[1:]
		}
		return nil
	}
	first := p.known
	for h := first; h < n; h++ {
		body = appendSeries(body, p.agg.Registry.Series(agg.Handle(h)))
		if len(body) < seriesBody && h+1 < n {
			continue
		}
		if err := settle(seriesPending); err != nil {
			return err
		}
		head := binary.AppendUvarint(binary.LittleEndian.AppendUint64([]byte{recordVersion}, p.o.Journal.Run), uint64(first))
		t := p.o.Journal.Series.Append(&journal.Record{Kind: KindSeries, Head: head, Body: body})
		pending = append(pending, written{t, h + 1})
		body, first = body[:0], h+1
	}
	return settle(0)
}

// release lets go of what of the journal is in the store.
func (p *Pump) release(oldest journal.Pos) error {
	j := p.o.Journal
	err := j.Log.Release(oldest)
	if epoch := j.Log.OldestEpoch(); epoch > 0 {
		err = errors.Join(err, j.Series.ReleaseBefore(epoch))
	}
	if err != nil {
		return fmt.Errorf("let go of the journal: %w", err)
	}
	return nil
}
