package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"cairn/internal/clock"
	"cairn/internal/journal"
	"cairn/internal/metric"
	"cairn/tsdb"
)

// Journal is a log of records: *journal.Log, or *journal.Archive.
type Journal interface {
	Since(events uint64) (journal.Pos, metric.UnixSec)
	Read(from, to journal.Pos, visit func(journal.Pos, *journal.Record) error) error
}

// Options says what is compared.
type Options struct {
	Journal  Journal
	Series   Journal // of series
	Snapshot *tsdb.Snapshot
	Clock    clock.Clock
	Pacer    *Pacer // nil: as fast as it can
	// Events bounds how many of the latest events of the journal are counted again, up to
	// one segment; 0: all.
	Events uint64
	// Partial says that what listeners feed is not journaled, so that only the tiers
	// can be compared.
	Partial bool
	// Deleted returns the position in the journal below which records of a metric may be
	// of series that somebody deleted. nil: none were.
	Deleted func(id metric.ID) (cut uint64, ok bool)

	limit int // maxBytes; a test sets it
}

// Run counts again and compares.
func Run(ctx context.Context, o Options) (*Report, error) {
	begin := o.Clock.Now()
	pace := func(ctx context.Context) error { return ctx.Err() }
	if o.Pacer != nil {
		pace = o.Pacer.Step
	}
	if o.Events == 0 {
		o.Events = math.MaxUint64
	}
	if o.limit == 0 {
		o.limit = maxBytes
	}
	r := run{o: o, pace: pace, helds: make(map[string]*metric.Held), report: &Report{Damaged: []string{}, Notes: []string{}}}
	err := r.readMetrics(ctx)
	if err == nil {
		err = r.journal(ctx)
	}
	if err == nil {
		err = r.tiers(ctx)
	}
	if err == nil {
		err = r.accounts(ctx)
	}
	if err != nil {
		return nil, err
	}
	out := r.report
	out.Differences, out.DifferencesTotal = listed(r.wrong)
	out.Tiers.Differences, out.Tiers.DifferencesTotal = listed(r.uneven)
	out.Tiers.Equal = out.Tiers.DifferencesTotal == 0
	out.Held.Differences, out.Held.DifferencesTotal = listed(r.gone)
	out.Held.Equal = out.Held.DifferencesTotal == 0
	out.Equal = out.DifferencesTotal == 0 && out.Tiers.Equal && out.Held.Equal && len(out.Damaged) == 0
	out.TookMS = o.Clock.Now().Sub(begin).Milliseconds()
	return out, nil
}

func listed(l list) ([]Difference, uint64) {
	if l.listed == nil {
		return []Difference{}, 0 // no null in the JSON
	}
	return l.listed, l.total
}

// run is the state of one.
type run struct {
	o      Options
	pace   func(context.Context) error
	report *Report
	ids    []metric.ID // by number in the store - 1; the zero ID: there is none
	cells  *cells
	wrong  list // of the journal
	uneven list // of the tiers
	gone   list // of what is held
	helds  map[string]*metric.Held
}

func (r *run) note(format string, args ...any) {
	r.report.Notes = append(r.report.Notes, fmt.Sprintf(format, args...))
}

// maxMetricNo bounds what is believed of a metric's number: --max-metrics is less.
const maxMetricNo = 1 << 24

func (r *run) readMetrics(ctx context.Context) error {
	return r.o.Snapshot.WalkMetrics(ctx, func(no uint32, id metric.ID) error {
		if int(no) <= len(r.ids) || no > maxMetricNo {
			return fmt.Errorf("metric %d comes after number %d", no, len(r.ids))
		}
		for int(no) > len(r.ids)+1 {
			r.ids = append(r.ids, metric.ID{}) // whose number is free again
		}
		r.ids = append(r.ids, id)
		return nil
	})
}

// journal compares with the journal.
func (r *run) journal(ctx context.Context) error {
	if r.o.Partial {
		r.note("what listeners feed is not journaled (--journal-udp), so only the tiers were compared with one another")
		return nil
	}
	cursor, err := r.o.Snapshot.Cursor()
	if err != nil {
		return err
	}
	totals, err := r.o.Snapshot.Totals()
	if err != nil {
		return err
	}
	c, created, err := r.count(ctx, cursor)
	if err != nil {
		return err
	}
	r.wrong, r.cells = c.wrong, c.cells
	r.report.Pending = c.pending
	from, to := metric.UnixSec(0), cursor.Watermark
	if cursor.Oldest >= cursor.Cut {
		to = metric.MaxSec // the server was stopped, and stored all
	}
	switch {
	case cursor.Cut == 0 || c.stored == 0:
		r.note("nothing that is in the store is in the journal as well, so only the tiers were compared with one another")
		return nil
	case c.stored != totals.Events && created == 0:
		r.note("the oldest segment of the journal does not say when it was made, so only the tiers were compared with one another")
		return nil
	case c.stored != totals.Events:
		// There is more in the store than in the records that are kept.
		from = created + metric.MaxFuture + 1
	}
	r.cells.raise(from)
	if r.cells.cut {
		r.note("the journal holds more than is compared at once; what is older than %s was left out", r.cells.from.Time().Format(time.RFC3339))
	}
	r.cells.sort()
	if err := r.compare(ctx, r.cells.from, to); err != nil {
		return err
	}
	if r.wrong.total > 0 && totals.Events > cursor.Journaled {
		r.note("%d events were stored that never were in the journal: by an older version, or with --journal-udp=false; if they are of these seconds, they explain differences", totals.Events-cursor.Journaled)
	}
	return nil
}

// attempts bounds how often the journal's begin is asked for: it may be released
// between that and the reading, once in a flush.
const attempts = 3

// count reads the journal from its begin. created is when that was made.
func (r *run) count(ctx context.Context, cursor tsdb.Cursor) (c *counter, created metric.UnixSec, err error) {
	for range attempts {
		c = &counter{ctx: ctx, pace: r.pace, cursor: cursor, deleted: r.deletedBelow, cells: newCells(r.o.limit), begun: make(map[place]*begun)}
		c.names = dictionary{runs: make(map[uint64][]uint32), place: c.cells.place}
		var damaged []string
		damaged, err = damage(r.o.Series.Read(0, 0, func(_ journal.Pos, rec *journal.Record) error {
			if err := r.pace(ctx); err != nil {
				return err
			}
			return c.names.add(rec)
		}))
		if err != nil {
			return nil, 0, fmt.Errorf("read the journal of series: %w", err)
		}
		first, made := r.o.Journal.Since(r.o.Events)
		if begin, _ := r.o.Journal.Since(math.MaxUint64); begin != first && len(r.report.Notes) == 0 {
			r.note("only about the last %d events of the journal were counted again; all of them are if the data dir, or a copy of it, is verified with --data-dir", r.o.Events)
		}
		created = made
		var more []string
		more, err = damage(r.o.Journal.Read(first, 0, c.record))
		if errors.Is(err, journal.ErrReleased) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read the journal: %w", err)
		}
		r.report.Damaged = append(append(r.report.Damaged, damaged...), more...)
		if c.unnamed > 0 {
			r.report.Damaged = append(r.report.Damaged, fmt.Sprintf("the journal of series does not say what %d events are of that came by datagram; it was removed, or is damaged", c.unnamed))
		}
		return c, created, nil
	}
	return nil, 0, fmt.Errorf("read the journal: %w", err)
}

// damage tells damage from what keeps the journal from being read at all.
func damage(err error) ([]string, error) {
	var d *journal.DamagedError
	if !errors.As(err, &d) {
		return nil, err
	}
	var out []string
	for _, x := range d.Damage {
		out = append(out, x.String())
	}
	return out, nil
}

// compare compares the cells in [from, to) with the store, tier by tier.
func (r *run) compare(ctx context.Context, from, to metric.UnixSec) error {
	begin, end := metric.MaxSec, metric.UnixSec(0)
	for sec, n := range r.cells.events {
		if sec >= from && sec < to {
			r.report.Checked.Events += n
			begin, end = min(begin, sec), max(end, sec+1)
		}
	}
	if end > 0 {
		r.report.Checked.From, r.report.Checked.To = int64(begin), int64(end)
	}
	seen := make(map[metric.ID]struct{})
	for _, t := range metric.Tiers {
		c := comparison{r: r, t: t, from: from.Ceil(t.Width()), to: to.Floor(t.Width()), seen: seen}
		if c.from >= c.to {
			continue
		}
		if err := c.run(ctx); err != nil {
			return err
		}
	}
	r.report.Checked.Metrics = len(seen)
	return nil
}

// partitions returns those of a tier in which there are cells, ascending.
func (c *cells) partitions(t metric.Tier, from, to metric.UnixSec) []uint32 {
	have := make(map[uint32]struct{})
	for sec := range c.events {
		if sec >= from && sec < to {
			p, _ := t.Place(sec)
			have[p] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(have))
}

// noPartition is behind all.
const noPartition = math.MaxUint32
