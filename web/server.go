package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/query"
	"cairn/query/promql"
)

// Options connects a Server to what it serves.
type Options struct {
	Executor *query.Executor
	Clock    clock.Clock
	Log      *slog.Logger
	// MaxQueries run at once; 0: some. How long one may take, its wait included, is a limit
	// of the Executor.
	MaxQueries int
	Activity   *query.Activity            // what queries are noted in; nil: the server's own
	Status     func() Status              // for GET /api/status
	Metrics    func(append []byte) []byte // for GET /metrics, in Prometheus' text format
	Hot        func(n int) Hot            // for GET /api/hot
	Rejects    func() ingest.Report       // for GET /api/rejects
	// Explain tells how each dialect reads a line, for POST /api/explain.
	Explain func(line []byte) []ingest.Explanation
	// Events returns the last n events and service checks in [from, to), for
	// GET /api/events.
	Events func(from, to metric.UnixSec, n int) []ingest.Noted
	// Quality tells of the ledger, and of n producers, for GET /api/quality.
	Quality func(n int) Quality
	// Storage tells what the store takes on disk and what it holds, of n metrics, for
	// GET /api/storage; nil: there is no such route.
	Storage func(n int) (storage any, refusal *ingest.Refusal)
	// Ingest takes a batch, for POST /api/ingest; nil: there is no such route.
	Ingest func(*ingest.Request) (ingest.Answer, *ingest.Refusal)
	// Verify compares the journal with the store, for GET /api/verify; it ends early
	// once its context is done. nil: there is no such route.
	Verify func(context.Context) (report any, refusal *ingest.Refusal)
	// Backup makes a copy of all that is kept in a directory of an absolute path, for
	// POST /api/backup; it ends early once its context is done. nil: there is no such route.
	Backup func(ctx context.Context, dir string) (report any, refusal *ingest.Refusal)
	// Delete deletes series, for DELETE /api/series; it ends early once its context is done.
	// nil: none are deleted, and who asks is told how that is switched on.
	Delete func(context.Context, query.Deletion) (report any, refusal *ingest.Refusal)
	// Dashboards are kept for /api/dashboards; nil: there are no such routes.
	Dashboards *Dashboards
	// Catalog tells of metrics, for GET /api/metrics and what is below it; nil: there is
	// nothing below it.
	Catalog *Catalog
	// Config returns the settings in force, for GET /api/config; nil: there is no such route.
	Config func() []Setting
}

// Limits on connections, each so that a slow or hostile client costs little.
const (
	maxConns      = 4096             // descriptors: well below the usual limit a process
	maxConnsPerIP = 2048             // one client cannot take them all, nor all streams behind one proxy
	headerBytes   = 16 << 10         // a request line with 32 filters fits
	bodyBytes     = 64 << 10         // the longest line that a setting allows fits
	readTime      = 10 * time.Second // for a whole request
	writeTime     = 30 * time.Second // for a whole answer
	idleTime      = 60 * time.Second // between requests on one connection
)

// Server is the HTTP server.
type Server struct {
	o        Options
	http     *fasthttp.Server
	listener net.Listener
	assets   map[string]*asset
	routes   map[string]route
	prom     *promql.Engine // nil: there is no Executor
	// promRoutes is the table of Prometheus' API.
	promRoutes map[string]promRoute
	gate       gate
	activity   *query.Activity
	base       context.Context // of queries
	abandon    context.CancelFunc
	hub        *hub
	ready      atomic.Bool
	closing    atomic.Bool
	started    bool
	done       chan struct{}
}

// Listen binds address. Start starts to answer.
func Listen(address string, o Options) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("HTTP %s is in use by another process; stop it, or choose another address with --http", address)
		}
		return nil, fmt.Errorf("listen on HTTP %s: %w", address, err)
	}
	return New(l, o)
}

// New returns a server that answers on l, which it owns from now on, also after an
// error.
func New(l net.Listener, o Options) (_ *Server, err error) {
	s := &Server{o: o, listener: l, activity: o.Activity, done: make(chan struct{})}
	var limit time.Duration
	if o.Executor != nil {
		limit = o.Executor.Limits.Time
	}
	s.gate = newGate(o.MaxQueries, limit)
	if s.activity == nil {
		s.activity = query.NewActivity(o.Clock)
	}
	s.base, s.abandon = context.WithCancel(context.Background())
	s.hub = newHub(o.Clock, s.evaluate, s.tell, s.o.Log)
	if s.assets, err = loadAssets(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.routes, s.promRoutes = s.table(), s.promTable()
	if o.Executor != nil {
		s.prom = promql.New(o.Executor, o.Clock, o.Log)
	}
	s.http = &fasthttp.Server{
		Handler:                      s.handle,
		ErrorHandler:                 s.malformed,
		Name:                         "cairn",
		Concurrency:                  maxConns,
		MaxConnsPerIP:                maxConnsPerIP,
		ReadBufferSize:               headerBytes,
		MaxRequestBodySize:           bodyBytes, // beyond it a handler decides
		StreamRequestBody:            true,
		ReadTimeout:                  readTime,
		WriteTimeout:                 writeTime,
		IdleTimeout:                  idleTime,
		CloseOnShutdown:              true,
		NoDefaultServerHeader:        true,
		DisablePreParseMultipartForm: true,
		Logger:                       quiet{o.Log},
	}
	return s, nil
}

// quiet passes fasthttp's complaints on at debug level: each is about one
// client's connection, and any client can cause them.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	q.log.Debug(fmt.Sprintf(format, args...), "from", "http")
}

// Addr returns the address that is bound.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Start begins to serve. failed is called if the listener ends other than by
// Close.
func (s *Server) Start(failed func(error)) {
	s.started = true
	go func() {
		defer close(s.done)
		if err := s.http.Serve(s.listener); err != nil && !s.closing.Load() {
			failed(fmt.Errorf("serve HTTP %s: %w", s.Addr(), err))
		}
	}()
}

// Streams returns how many streams are open, and of how many queries.
func (s *Server) Streams() (viewers, queries int) { return s.hub.counts() }

// SetReady says what /-/ready answers.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

// Close stops listening, ends streams and waits, as long as ctx allows, for requests under
// way; then queries are canceled.
func (s *Server) Close(ctx context.Context) error {
	s.SetReady(false)
	s.closing.Store(true)
	defer s.abandon()
	s.hub.close(ctx)
	if !s.started {
		return s.listener.Close()
	}
	err := s.http.ShutdownWithContext(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // their views stay good until they are done
	}
	// Before Serve has got as far as the listener, Shutdown does not know of it.
	if e := s.listener.Close(); !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	<-s.done
	return err
}

// route is one row of the table.
type route struct {
	method string
	serve  func(*fasthttp.RequestCtx)
}

func (s *Server) table() map[string]route {
	t := map[string]route{
		"/api/query":   {fasthttp.MethodGet, s.query},
		"/api/stream":  {fasthttp.MethodGet, s.stream},
		"/api/queries": {fasthttp.MethodGet, s.queries},
		"/api/metrics": {fasthttp.MethodGet, s.metrics},
		"/api/tags":    {fasthttp.MethodGet, s.tags},
		"/api/status":  {fasthttp.MethodGet, s.status},
		"/api/hot":     {fasthttp.MethodGet, s.gated(s.hot)},
		"/api/rejects": {fasthttp.MethodGet, s.rejects},
		"/api/explain": {fasthttp.MethodPost, s.explain},
		"/api/events":  {fasthttp.MethodGet, s.gated(s.events)},
		"/api/quality": {fasthttp.MethodGet, s.quality},
		"/api/series":  {fasthttp.MethodDelete, s.deleteSeries},
		"/metrics":     {fasthttp.MethodGet, s.selfMetrics},
		"/-/healthy":   {fasthttp.MethodGet, s.healthy},
		"/-/ready":     {fasthttp.MethodGet, s.readiness},
	}
	if s.o.Storage != nil {
		t["/api/storage"] = route{fasthttp.MethodGet, s.gated(s.storage)}
	}
	if s.o.Ingest != nil {
		t["/api/ingest"] = route{fasthttp.MethodPost, s.ingest}
	}
	if s.o.Verify != nil {
		t["/api/verify"] = route{fasthttp.MethodGet, s.verify}
	}
	if s.o.Backup != nil {
		t["/api/backup"] = route{fasthttp.MethodPost, s.backup}
	}
	if s.o.Catalog != nil {
		t["/api/metrics/meta"] = route{fasthttp.MethodPut, s.describe}
		t["/api/metrics/cardinality"] = route{fasthttp.MethodGet, s.cardinality}
	}
	if s.o.Config != nil {
		t["/api/config"] = route{fasthttp.MethodGet, s.config}
	}
	return t
}

// csp lets the page load what this server serves, and nothing else.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secure sets the headers that every answer has, those to malformed requests too.
func secure(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}

func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	defer s.recovered(ctx)
	secure(ctx)
	h := &ctx.Response.Header
	path := string(ctx.Path())
	if a := s.assets[path]; a != nil {
		if s.allow(ctx, fasthttp.MethodGet) {
			a.serve(ctx)
		}
		return
	}
	if r, ok := s.routes[path]; ok {
		if s.allow(ctx, r.method) {
			h.Set("Cache-Control", "no-store")
			r.serve(ctx)
		}
		return
	}
	if s.prometheus(ctx, path) || s.dashboards(ctx, path) {
		return
	}
	if strings.HasPrefix(path, "/api/") {
		fail(ctx, fasthttp.StatusNotFound, fmt.Sprintf("there is no %s; the API has /api/ingest, /api/query, /api/stream, /api/queries, /api/metrics, /api/metrics/cardinality, /api/metrics/meta, /api/tags, /api/dashboards, /api/config, /api/hot, /api/rejects, /api/explain, /api/events, /api/quality, /api/storage, /api/verify, /api/backup, /api/series and /api/status", path), "")
		return
	}
	fail(ctx, fasthttp.StatusNotFound, "there is no such page; the dashboard is at /", "")
}

func (s *Server) allow(ctx *fasthttp.RequestCtx, method string) bool { return s.allowOf(ctx, method) }

// allowOf refuses a request of none of the methods. Where GET is one, so is HEAD.
func (s *Server) allowOf(ctx *fasthttp.RequestCtx, methods ...string) bool {
	for _, m := range methods {
		if string(ctx.Method()) == m || m == fasthttp.MethodGet && ctx.IsHead() {
			return true
		}
	}
	ctx.Response.Header.Set("Allow", strings.Join(methods, ", "))
	fail(ctx, fasthttp.StatusMethodNotAllowed, fmt.Sprintf("%s takes %s only", ctx.Path(), strings.Join(methods, ", ")), "")
	return false
}

// recovered keeps a bug in one handler from ending the process and what it
// counts; the caller gets no details.
func (s *Server) recovered(ctx *fasthttp.RequestCtx) {
	if r := recover(); r != nil {
		s.o.Log.Error("BUG: a request made its handler panic", "path", string(ctx.Path()), "query", string(ctx.QueryArgs().QueryString()), "panic", fmt.Sprint(r))
		fail(ctx, fasthttp.StatusInternalServerError, "this request hit a bug in cairn, which its log describes; counting goes on", "")
	}
}

func (s *Server) malformed(ctx *fasthttp.RequestCtx, err error) {
	s.o.Log.Debug("malformed HTTP request", "error", err)
	secure(ctx)
	code, sentence := fasthttp.StatusBadRequest, "the HTTP request is malformed"
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.As(err, &small):
		code, sentence = fasthttp.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the request line and headers are larger than %d bytes", headerBytes)
	case errors.As(err, &netErr) && netErr.Timeout():
		code, sentence = fasthttp.StatusRequestTimeout, fmt.Sprintf("the request took longer than %s to arrive", readTime)
	}
	fail(ctx, code, sentence, "")
}
