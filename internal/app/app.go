// Package app puts the parts together: it opens them in an order, runs them, and
// closes them in the reverse one.
//
//	open   inherited sockets ► engine (store, journal, stripes, pump) ► listeners ► HTTP socket
//	start  memory watch ► HTTP ► listeners ► engine (replays the journal) ► ledger ► ready
//	close  listeners (drained) ► HTTP ► ledger ► engine (everything flushed) ► memory watch
//
// Nothing is read from a socket before all of it could be opened, and nothing
// that was read is still in memory when the store closes.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/config"
	"cairn/internal/engine"
	"cairn/internal/ledger"
	"cairn/internal/metric"
	"cairn/internal/selfmon"
	"cairn/query"
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

	engine   *engine.Engine
	inject   *ingest.Feeder
	own      *agg.Stripe // that inject feeds
	ledger   *ledger.Ledger
	activity *query.Activity
	memory   *memory
	mu       sync.Mutex // serialises Inject
	web      *web.Server
	backups  backups

	listeners []opened

	failed  chan error
	report  *reporter
	closing chan struct{}
	wait    sync.WaitGroup
}

// Open opens all parts. After an error nothing stays open.
func Open(c config.Config, env Env) (_ *App, err error) {
	a := &App{config: c, env: env, started: env.Clock.Now(), closing: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	plans, page, err := planListeners(c)
	if err != nil {
		return nil, err
	}
	if err = a.openEngine(plans); err != nil {
		err = errors.Join(err, closePlans(plans))
		if page != nil {
			err = errors.Join(err, page.Close())
		}
		return nil, err
	}
	if err = a.openListeners(plans); err != nil {
		if page != nil {
			err = errors.Join(err, page.Close())
		}
		return nil, err
	}
	a.ledger = a.newLedger()
	a.activity = query.NewActivity(env.Clock)
	o := web.Options{
		Executor: a.executor(), MaxQueries: c.Query.AtOnce, Activity: a.activity, Clock: env.Clock, Log: env.Log,
		Status: a.status, Metrics: a.selfmon().Append, Quality: a.quality, Hot: a.hot, Rejects: a.Rejects, Explain: a.explain, Events: a.engine.Notes.Between,
		Ingest: a.engine.Batches.Ingest, Verify: a.verify, Backup: a.backup, Storage: a.storage,
		Dashboards: a.dashboards(), Catalog: a.catalog(), Config: a.settings,
	}
	if c.AllowDelete {
		o.Delete = a.delete
	}
	if page != nil {
		a.web, err = web.New(page, o)
	} else {
		a.web, err = web.Listen(c.HTTP, o)
	}
	return a, err
}

// hotSpan is how many complete seconds GET /api/hot looks at. They are still open,
// since the grace period is no shorter.
const hotSpan = 10

func (a *App) hot(n int) web.Hot {
	to := metric.SecOf(a.env.Clock.Now())
	from := to - min(hotSpan, metric.UnixSec(a.config.Grace/time.Second))
	h := web.Hot{From: from, To: to}
	h.Series, h.Events = a.engine.Pump.Hot(n, from, to)
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

// openEngine opens what counts and keeps, with a stripe for each listener's readers and
// one for Inject. A stripe resolves keys as its listener's dialect has them.
func (a *App) openEngine(plans []*plan) (err error) {
	c := a.config
	var resolvers []agg.Resolver
	for _, p := range plans {
		p.parser = parserOf(p.dialect, c)
		resolvers = append(resolvers, slices.Repeat([]agg.Resolver{p.parser.Resolve}, p.readers(c))...)
	}
	own := parserOf("dogstatsd", c)
	resolvers = append(resolvers, own.Resolve)
	limits := agg.Limits{Series: c.MaxSeries, SeriesPerMetric: c.MaxSeriesPerMetric, Metrics: c.MaxMetrics}
	if a.env.MemoryLimit > 0 {
		// A quarter of it for open seconds: the index takes another, the store and
		// garbage the rest.
		limits.Entries = max(minEntries, min(maxEntries, int(a.env.MemoryLimit)/4/16/len(resolvers)))
	}
	a.engine, err = engine.Open(engine.Options{
		FS: a.env.FS, Dir: c.DataDir, Clock: a.env.Clock, Log: a.env.Log, Seed: a.env.Seed, Fatal: a.env.Fatal,
		Cache: int64(c.Cache), Limits: limits, Resolvers: resolvers, Parser: own, Grace: c.Grace, FlushInterval: c.FlushInterval,
		JournalSync: c.JournalSync, JournalUDP: c.JournalUDP, JournalRetention: c.JournalRetention, JournalSize: int64(c.JournalSize),
		MinFree: int64(c.MinFreeDisk), Retention: c.Retention, Version: Version,
	})
	if err != nil {
		return err
	}
	n := 0
	for _, p := range plans {
		for range p.readers(c) {
			p.stripes = append(p.stripes, a.engine.Stripe(n))
			n++
		}
	}
	a.own = a.engine.Stripe(n)
	a.inject = ingest.NewFeeder(a.own, own)
	// One for each goroutine that can fail: the readers, one a listener, HTTP and the
	// replay.
	a.failed = make(chan error, len(resolvers)+len(plans)+2)
	return nil
}

func (a *App) executor() *query.Executor {
	q := a.config.Query
	return &query.Executor{
		Acquire: a.engine.Pump.View, Limits: query.Limits{Series: q.Series, Samples: q.Samples, Time: q.Time}, CacheBytes: int64(q.Cache),
	}
}

func (a *App) selfmon() selfmon.Sources {
	return selfmon.Sources{
		Version: Version, Uptime: func() time.Duration { return a.env.Clock.Now().Sub(a.started) },
		Listeners: a.figures, Registry: a.engine.Agg.Registry, Pump: a.engine.Pump, Store: a.engine.Store, Ledger: a.ledger,
		Batches: a.engine.Batches, Windows: a.engine.Windows, Journal: a.engine.Journal, Backlog: a.engine.Backlog, Replaying: a.engine.Replaying,
		Behind:  a.retentionBehind,
		Queries: a.activity.Counts, Streams: func() (viewers, queries int) { return a.web.Streams() },
		Disk: func() (int64, bool) { d := a.engine.Disk(); return d.Free, d.Short },
	}
}

// retentionBehind is how far the clock that expiry goes by is behind the time; 0: it does
// not run yet.
func (a *App) retentionBehind() time.Duration {
	if _, now := a.engine.Store.Retention(); now > 0 {
		return a.env.Clock.Now().Sub(now.Time())
	}
	return 0
}

// Start starts all parts.
func (a *App) Start() {
	failed := func(err error) { a.failed <- err } // buffered: one a goroutine that can fail
	for _, l := range a.listeners {
		for _, f := range l.Feeders() {
			f.Keep(a.engine.Notes)
		}
	}
	a.inject.Keep(a.engine.Notes)
	a.memory = startMemory(a.env.MemoryLimit, a.engine.Agg.Registry, a.env.Log)
	a.web.Start(failed)
	for _, l := range a.listeners {
		l.Start(failed)
	}
	a.report = startReporter(a.env.Log, a.listeners)
	a.engine.Start(failed)
	a.ledger.Start()
	a.wait.Go(func() {
		select {
		case <-a.engine.Ready():
			a.web.SetReady(true)
		case <-a.closing:
		}
	})
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
	close(a.closing)
	a.wait.Wait()
	if a.ledger != nil {
		a.ledger.Close()
	}
	if a.engine != nil {
		errs = append(errs, a.engine.Close())
	}
	if a.memory != nil {
		a.memory.close()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
