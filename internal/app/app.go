// Package app puts the parts together: it opens them in an order, runs them, and
// closes them in the reverse one.
//
//	open   store ► stripes ► pump ► UDP socket ► HTTP socket
//	start  pump ► HTTP ► UDP readers ► ready
//	close  UDP (drained) ► HTTP ► pump (everything flushed) ► store
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

// maxMetrics bounds the number of metrics; each may hold one series beyond
// max-series, its overflow.
const maxMetrics = 100_000

// httpGrace is how long Close waits for requests under way.
const httpGrace = 2 * time.Second

// Env is what an App takes from its surroundings.
type Env struct {
	Clock clock.Clock
	FS    vfs.FS // nil: the disk
	Log   *slog.Logger
	Seed  uint64                // of the hash functions
	Fatal func(sentence string) // ends the process; called where the store cannot go on
}

// App is a running server.
type App struct {
	config  config.Config
	env     Env
	started time.Time

	store  *tsdb.Store
	agg    *agg.Aggregator
	pump   *flush.Pump
	udp    *ingest.UDP
	inject *ingest.Feeder
	mu     sync.Mutex // serialises Inject
	web    *web.Server

	failed chan error
	report *reporter
}

// Open opens all parts. After an error nothing stays open.
func Open(c config.Config, env Env) (_ *App, err error) {
	a := &App{config: c, env: env, started: env.Clock.Now(), failed: make(chan error, c.Readers+1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.closeOpened())
		}
	}()
	a.store, err = tsdb.Open(c.DataDir, tsdb.Options{FS: env.FS, Log: env.Log, Cache: int64(c.Cache), Fatal: env.Fatal})
	if err != nil {
		return nil, err
	}
	limits := agg.Limits{Series: c.MaxSeries, SeriesPerMetric: c.MaxSeriesPerMetric, Metrics: maxMetrics}
	rng := rand.New(rand.NewPCG(env.Seed, 0))
	parser := &ingest.Parser{Limits: metric.DefaultLineLimits}
	a.agg = agg.New(limits, slices.Repeat([]agg.Resolver{parser.Resolve}, c.Readers+1), rng)
	a.pump = flush.New(a.agg, a.store, flush.Options{Clock: env.Clock, Grace: c.Grace, Interval: c.FlushInterval, Log: env.Log})
	var stripes []*agg.Stripe
	for i := range c.Readers {
		stripes = append(stripes, a.agg.Stripe(i))
	}
	a.inject = ingest.NewFeeder(a.agg.Stripe(c.Readers), parser)
	if a.udp, err = ingest.ListenUDP(c.UDP, stripes, parser, c.UDPBuffer, env.Clock); err != nil {
		return nil, err
	}
	a.web, err = web.Listen(c.HTTP, web.Options{
		Executor: &query.Executor{Acquire: a.pump.View}, Clock: env.Clock, Log: env.Log,
		Status: a.status, Metrics: a.selfmon().Append,
	})
	return a, err
}

func (a *App) selfmon() selfmon.Sources {
	return selfmon.Sources{
		Version: Version, Uptime: func() time.Duration { return a.env.Clock.Now().Sub(a.started) },
		UDP: a.udp, Registry: a.agg.Registry, Pump: a.pump, Store: a.store, Ledger: a.Ledger,
	}
}

// Start starts all parts.
func (a *App) Start() {
	failed := func(err error) { a.failed <- err } // buffered: one a goroutine that can fail
	a.pump.Start()
	a.web.Start(failed)
	a.udp.Start(failed)
	a.report = startReporter(a.env.Log, a.udp)
	a.web.SetReady(true)
}

// Failed yields the error of a part that ended by itself.
func (a *App) Failed() <-chan error { return a.failed }

// HTTPAddr returns the address of the dashboard.
func (a *App) HTTPAddr() string { return a.web.Addr() }

// UDPAddr returns the address that datagrams go to.
func (a *App) UDPAddr() string { return a.udp.Addr() }

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
	total, _ := a.udp.Counts()
	injected, _ := a.inject.Counts()
	total.Add(injected)
	return ledger.Read(total, a.pump.Stats())
}

func (a *App) status() web.Status {
	return web.Status{
		Version: Version, Started: a.started.Unix(), Now: a.env.Clock.Now().Unix(),
		UDP: []string{a.udp.Addr()}, HTTP: a.web.Addr(), Grace: int64(a.config.Grace / time.Second),
	}
}

// Close drains the sockets, flushes everything and closes all parts. It returns
// what went wrong, joined; it goes on after each error.
func (a *App) Close() error {
	if a.report != nil {
		a.report.close()
	}
	return a.closeOpened()
}

func (a *App) closeOpened() error {
	var errs []error
	if a.udp != nil {
		errs = append(errs, a.udp.Close())
	}
	if a.web != nil {
		ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
		errs = append(errs, a.web.Close(ctx))
		cancel()
	}
	if a.pump != nil {
		errs = append(errs, a.pump.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
