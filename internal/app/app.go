// Package app puts the parts together: it opens them in an order, runs them, and
// closes them in the reverse one.
//
//	open   inherited sockets ► store ► stripes ► annotations ► pump ► listeners ► HTTP socket
//	start  memory watch ► pump ► HTTP ► listeners ► ready
//	close  listeners (drained) ► HTTP ► pump (everything flushed) ► memory watch ► store
//
// Nothing is read from a socket before all of it could be opened, and nothing
// that was read is still in memory when the store closes.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/config"
	"cairn/internal/flush"
	"cairn/internal/ledger"
	"cairn/internal/metric"
	"cairn/internal/selfmon"
	"cairn/query"
	"cairn/tsdb"
	"cairn/web"
)

// Version is the version of this build.
const Version = "0.1.0"

// httpGrace is how long Close waits for requests under way.
const httpGrace = 2 * time.Second

// Env is what an App takes from its surroundings.
type Env struct {
	Clock clock.Clock
	FS    vfs.FS // nil: the disk
	Log   *slog.Logger
	Seed  uint64 // of the hash functions
	// MemoryLimit is how many bytes the process may take; 0: there is no limit.
	MemoryLimit uint64
	Fatal       func(sentence string) // ends the process; called where the store cannot go on
}

// App is a running server.
type App struct {
	config  config.Config
	env     Env
	started time.Time

	store  *tsdb.Store
	agg    *agg.Aggregator
	pump   *flush.Pump
	inject *ingest.Feeder
	notes  *ingest.Annotations
	memory *memory
	mu     sync.Mutex // serialises Inject
	web    *web.Server

	listeners []opened

	failed chan error
	report *reporter
}

// Open opens all parts. After an error nothing stays open.
func Open(c config.Config, env Env) (_ *App, err error) {
	a := &App{config: c, env: env, started: env.Clock.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	plans, page, err := planListeners(c)
	if err != nil {
		return nil, err
	}
	a.store, err = tsdb.Open(c.DataDir, tsdb.Options{FS: env.FS, Log: env.Log, Cache: int64(c.Cache), Fatal: env.Fatal})
	if err != nil {
		err = errors.Join(err, closePlans(plans))
		if page != nil {
			err = errors.Join(err, page.Close())
		}
		return nil, err
	}
	a.aggregate(plans)
	noted, err := a.restoreNotes()
	if err != nil {
		err = errors.Join(err, closePlans(plans))
		if page != nil {
			err = errors.Join(err, page.Close())
		}
		return nil, err
	}
	a.pump = flush.New(a.agg, a.store, flush.Options{
		Clock: env.Clock, Grace: c.Grace, Interval: c.FlushInterval, Log: env.Log, Annotations: a.notesSince, Noted: noted,
	})
	if err = a.openListeners(plans); err != nil {
		if page != nil {
			err = errors.Join(err, page.Close())
		}
		return nil, err
	}
	o := web.Options{
		Executor: &query.Executor{Acquire: a.pump.View}, Clock: env.Clock, Log: env.Log,
		Status: a.status, Metrics: a.selfmon().Append, Hot: a.hot, Rejects: a.Rejects, Explain: a.explain, Events: a.notes.Between,
	}
	if page != nil {
		a.web, err = web.New(page, o)
	} else {
		a.web, err = web.Listen(c.HTTP, o)
	}
	return a, err
}

// restoreNotes makes the list of annotations with those that are in the store, and
// returns the number of the last one.
func (a *App) restoreNotes() (last uint64, err error) {
	a.notes = ingest.NewAnnotations()
	old, err := a.store.Annotations()
	if err != nil {
		return 0, err
	}
	return a.notes.Restore(old), nil
}

func (a *App) notesSince(seq uint64) (list []metric.Annotation, last uint64) {
	last = seq
	for _, n := range a.notes.Since(seq) {
		list = append(list, n.Annotation)
		last = n.Seq
	}
	return list, last
}

// hotSpan is how many complete seconds GET /api/hot looks at. They are still open,
// since the grace period is no shorter.
const hotSpan = 10

func (a *App) hot(n int) web.Hot {
	to := metric.SecOf(a.env.Clock.Now())
	from := to - min(hotSpan, metric.UnixSec(a.config.Grace/time.Second))
	h := web.Hot{From: from, To: to}
	h.Series, h.Events = a.pump.Hot(n, from, to)
	return h
}

func (a *App) explain(line []byte) []ingest.Explanation {
	return ingest.Explain(line, *parserOf("dogstatsd", a.config), metric.SecOf(a.env.Clock.Now()))
}

// Bounds on what the open seconds of one stripe may take, in units of 16 bytes: 8 MiB,
// with which a small host still counts 20,000 series, and 1 GiB.
const (
	minEntries = 8 << 20 / 16
	maxEntries = 1 << 30 / 16
)

// aggregate makes the stripes: those of each listener's readers, and one for
// Inject. A stripe resolves keys as its listener's dialect has them.
func (a *App) aggregate(plans []*plan) {
	var resolvers []agg.Resolver
	for _, p := range plans {
		p.parser = parserOf(p.dialect, a.config)
		resolvers = append(resolvers, slices.Repeat([]agg.Resolver{p.parser.Resolve}, p.readers(a.config))...)
	}
	own := parserOf("dogstatsd", a.config)
	resolvers = append(resolvers, own.Resolve)
	limits := agg.Limits{Series: a.config.MaxSeries, SeriesPerMetric: a.config.MaxSeriesPerMetric, Metrics: a.config.MaxMetrics}
	if a.env.MemoryLimit > 0 {
		// A quarter of it for open seconds: the index takes another, the store and
		// garbage the rest.
		limits.Entries = max(minEntries, min(maxEntries, int(a.env.MemoryLimit)/4/16/len(resolvers)))
	}
	a.agg = agg.New(limits, resolvers, rand.New(rand.NewPCG(a.env.Seed, 0)))
	n := 0
	for _, p := range plans {
		for range p.readers(a.config) {
			p.stripes = append(p.stripes, a.agg.Stripe(n))
			n++
		}
	}
	a.inject = ingest.NewFeeder(a.agg.Stripe(n), own)
	// One for each goroutine that can fail: the readers, one a listener, and HTTP.
	a.failed = make(chan error, len(resolvers)+len(plans)+1)
}

func (a *App) selfmon() selfmon.Sources {
	return selfmon.Sources{
		Version: Version, Uptime: func() time.Duration { return a.env.Clock.Now().Sub(a.started) },
		Listeners: a.figures, Registry: a.agg.Registry, Pump: a.pump, Store: a.store, Ledger: a.Ledger,
	}
}

// Start starts all parts.
func (a *App) Start() {
	failed := func(err error) { a.failed <- err } // buffered: one a goroutine that can fail
	for _, l := range a.listeners {
		for _, f := range l.Feeders() {
			f.Keep(a.notes)
		}
	}
	a.inject.Keep(a.notes)
	a.memory = startMemory(a.env.MemoryLimit, a.agg.Registry, a.env.Log)
	a.pump.Start()
	a.web.Start(failed)
	for _, l := range a.listeners {
		l.Start(failed)
	}
	a.report = startReporter(a.env.Log, a.listeners)
	a.web.SetReady(true)
}

// Failed yields the error of a part that ended by itself.
func (a *App) Failed() <-chan error { return a.failed }

// HTTPAddr returns the address of the dashboard.
func (a *App) HTTPAddr() string { return a.web.Addr() }

// Inject counts lines as if they had arrived in a datagram, but loses none.
func (a *App) Inject(lines []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := metric.MilliOf(a.env.Clock.Now())
	a.inject.Feed(lines, 0, len(lines), now, false)
	a.inject.Flush(lines, now)
}

// Ledger draws up the account since the start.
func (a *App) Ledger() ledger.Account {
	total, _ := counts(a.listeners)
	injected, _ := a.inject.Counts()
	total.Add(injected)
	return ledger.Read(total, a.pump.Stats())
}

func (a *App) status() web.Status {
	return web.Status{
		Version: Version, Started: a.started.Unix(), Now: a.env.Clock.Now().Unix(),
		UDP: a.addresses(selfmon.UDP), UDS: a.addresses(selfmon.UDS), TCP: a.addresses(selfmon.TCP),
		HTTP: a.web.Addr(), Grace: int64(a.config.Grace / time.Second),
	}
}

// Close drains the sockets, flushes everything and closes all parts. It returns
// what went wrong, joined; it goes on after each error.
func (a *App) Close() error {
	errs := []error{a.closeListeners()}
	if a.report != nil {
		a.report.close() // now that it can say what was drained
	}
	if a.web != nil {
		ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
		errs = append(errs, a.web.Close(ctx))
		cancel()
	}
	if a.pump != nil {
		errs = append(errs, a.pump.Close())
	}
	if a.memory != nil {
		a.memory.close()
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
