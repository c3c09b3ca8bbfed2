package app

import (
	"time"

	"cairn/ingest"
	"cairn/internal/dedupe"
	"cairn/internal/ledger"
	"cairn/internal/metric"
	"cairn/web"
)

func (a *App) newLedger() *ledger.Ledger {
	s := ledger.Sources{
		Entries: a.entries, Producers: a.engine.Batches.Producers, Pump: a.engine.Pump.Stats, Lost: a.engine.Lost,
		Recovered: func() (uint64, bool) { r := a.engine.Recovered(); return r.Events, r.Finished },
		Stored:    func() uint64 { return a.engine.Store.Totals().Events }, View: a.engine.Pump.View,
		Gone: func() ledger.Gone {
			t := a.engine.Store.Totals()
			return ledger.Gone{Expired: t.Expired, Deleted: t.Deleted, ExpiredUnits: t.ExpiredUnits, DeletedUnits: t.DeletedUnits, DeletedSeries: t.DeletedSeries}
		},
		Held: a.engine.Store.Held,
	}
	if a.config.JournalUDP {
		s.Journaled = func() (out []ledger.Journaled) {
			a.engine.Journaled(func(accepted, kept uint64) { out = append(out, ledger.Journaled{Accepted: accepted, Kept: kept}) })
			return out
		}
	}
	return ledger.New(s, a.env.Clock, a.env.Log)
}

// entries returns the account of each listener, of batches, and of Inject.
func (a *App) entries() []ledger.Entry {
	var out []ledger.Entry
	for _, l := range a.listeners {
		c, _ := l.Counts()
		e := ledger.OfListener(c)
		e.Kind, e.Dialect, e.Addr = l.Kind.String(), l.Dialect, l.Addr()
		for _, s := range l.stripes {
			c := s.Counts()
			e.Units += c.Units
			e.Amended += c.Amended
		}
		for _, s := range l.Sockets() {
			e.KernelDrops += s.Drops
		}
		out = append(out, e)
	}
	c, _ := a.engine.Batches.Counts()
	batches := ledger.OfBatches(c)
	batches.Kind = "HTTP"
	own, _ := a.inject.Counts()
	internal := ledger.OfListener(own)
	mine := a.own.Counts()
	internal.Kind, internal.Units, internal.Amended = "internal", mine.Units, mine.Amended
	batches.Amended = a.engine.BatchesAmended()
	return append(out, batches, internal)
}

// Ledger draws up the account since the start.
func (a *App) Ledger() ledger.Account { return a.ledger.Account() }

// Balance tells whether the ledger's identities hold.
func (a *App) Balance() ledger.Check { return a.ledger.CheckNow() }

func (a *App) quality(producers int) web.Quality {
	replaying := a.engine.Replaying() // before its figures, so that they are final if it is done
	now := a.env.Clock.Now()
	batches, _ := a.engine.Batches.Counts()
	gate := a.engine.Batches.Gate()
	q := web.Quality{
		Now: now.Unix(), Ledger: a.ledgerFigures(), MemoryShort: a.engine.Agg.Registry.Full(),
		Batches: web.BatchFigure{
			Taken: batches.Packets, Duplicates: batches.Duplicates, Refused: batches.Refused, Shed: sheds(&batches.ShedBatches),
			InFlight: gate.Batches, Bytes: gate.Bytes,
		},
	}
	q.Ledger.Producers = a.producers(producers)
	if batches.Received > 0 {
		q.Duplication = float64(batches.Duplicate) / float64(batches.Received)
	}
	p := a.engine.Pump.Stats()
	q.Flush = web.Flush{Last: millis(p.Last), Longest: millis(p.Longest), Count: p.Flushes, Failed: p.Failed}
	sealed := metric.SecOf(now.Add(-a.config.Grace))
	stored := a.engine.Store.Cursor().Watermark
	q.Buckets = web.Buckets{
		Open: int64(metric.SecOf(now) + 1 - sealed), Sealed: max(0, int64(sealed-metric.SecOf(a.started))), SealedUntil: int64(sealed),
		StoredUntil: int64(stored), Amended: p.Amended,
	}
	lag := a.ledger.Lag()
	if stored == 0 {
		stored = metric.SecOf(a.started) // nothing was ever flushed
	}
	// Buckets before stored are in the store, and so is what came before it was all.
	q.Lag.Stored = max(0, min(now.Sub(stored.Time()), lag.Stored).Seconds())
	if lag.AnyJournaled {
		s := lag.Journaled.Seconds()
		q.Lag.Journaled = &s
	}
	a.journalFigures(&q)
	q.Replay.Running = replaying
	return q
}

func (a *App) journalFigures(q *web.Quality) {
	j := a.engine.Journal.Stats()
	q.Fsync = web.Fsync{
		Last: millis(j.LastSync), P50: millis(j.SyncQuantile(0.5)), P99: millis(j.SyncQuantile(0.99)), Longest: millis(j.LongestSync), Count: j.Syncs,
	}
	r := a.engine.Recovered()
	q.Journal = web.Journal{
		Bytes: j.Bytes, Segments: j.Segments, Pending: j.Pending, Torn: j.Torn, TornBytes: r.Torn, Damaged: append([]string{}, r.Damaged...),
	}
	q.Journal.BacklogBytes, q.Journal.BacklogEvents = a.engine.Backlog()
	d := a.engine.Disk()
	q.Disk = web.Disk{Floor: d.Floor, Short: d.Short}
	if d.Free >= 0 {
		q.Disk.Free = &d.Free
	}
	q.Replay = web.Replay{Events: r.Events, Records: r.Records, Took: millis(r.Took)}
}

func (a *App) ledgerFigures() web.Ledger {
	c, l, r := a.ledger.Check(), a.ledger.Account(), a.engine.Recovered()
	out := web.Ledger{
		Imbalance: c.Imbalance, Uneven: c.Units, Faults: append([]string{}, c.Faults...), CheckedAt: seconds(metric.MilliOf(c.At)),
		Since: a.started.Unix(), Flow: flow(&l.Entry), Recovered: l.Recovered, Open: l.Open, Flushing: l.Flushing,
		Stored: l.Stored, StoredEver: l.StoredEver, Expired: l.Gone.Expired, Deleted: l.Gone.Deleted, ExpiredUnits: l.Gone.ExpiredUnits, DeletedUnits: l.Gone.DeletedUnits,
		DeletedSeries: l.Gone.DeletedSeries, Lost: l.LostEver, LostLately: r.Lost, LostInexact: r.Inexact,
	}
	p := a.engine.Pump.Stats()
	out.OpenUnits, out.FlushingUnits, out.StoredUnits = p.OpenUnits, p.FrozenUnits, p.StoredUnits
	for i := range l.Entries {
		e := &l.Entries[i]
		out.Listeners = append(out.Listeners, web.Source{Kind: e.Kind, Dialect: e.Dialect, Address: e.Addr, Flow: flow(e)})
	}
	return out
}

func flow(e *ledger.Entry) web.Flow {
	f := web.Flow{
		Received: e.Received, Accepted: e.Accepted, Noted: e.Noted, Duplicate: e.Duplicate, Dropped: e.KernelDrops, Units: e.Units, Amended: e.Amended,
		Rejected: map[string]uint64{}, Shed: sheds(&e.Shed),
	}
	for r, n := range e.Rejected {
		if n > 0 {
			f.Rejected[metric.Reason(r).String()] = n
		}
	}
	return f
}

func sheds(counts *[ingest.NumSheds]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for r, n := range counts {
		if n > 0 {
			out[ingest.Shed(r).String()] = n
		}
	}
	return out
}

// producers describes the n producers that were seen last, and what has none.
func (a *App) producers(n int) []web.Producer {
	counts := map[string]ingest.ProducerCounts{}
	a.engine.Batches.Producers(func(p dedupe.Producer, c ingest.ProducerCounts) { counts[p.String()] = c })
	out := []web.Producer{}
	for _, s := range a.engine.Windows.Producers(n) {
		row := producer(counts[s.Producer])
		row.Producer, row.Sequence, row.Gaps, row.InFlight = s.Producer, s.Sequence, s.Gaps, s.InFlight
		row.LastSeen, row.Conflicts = seconds(s.LastSeen), s.Conflicts
		out = append(out, row)
	}
	if c := counts[dedupe.Producer{}.String()]; c != (ingest.ProducerCounts{}) {
		out = append(out, producer(c))
	}
	return out
}

func producer(c ingest.ProducerCounts) web.Producer {
	return web.Producer{
		Batches: c.Batches, Duplicates: c.Duplicates, Refused: c.Refused, Shed: c.ShedBatches,
		Received: c.Received, Accepted: c.Accepted, Noted: c.Noted, Rejected: c.Rejected, DuplicateEvents: c.Duplicate, ShedEvents: c.Shed, Units: c.Units,
	}
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func seconds(m metric.UnixMilli) float64 { return float64(m) / 1000 }
