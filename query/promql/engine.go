package promql

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/query"
)

const (
	// Lookback is how old the reading of a gauge may be.
	Lookback = 5 * time.Minute
	// InstantWindow is the bucket that an instant query shows of a counter, in place of the step
	// that it does not have.
	InstantWindow = time.Minute
	// MaxSamples is how many values the engine may have in memory at once: 256 MB, as much as
	// the buckets of a query may take. Several queries run at once.
	MaxSamples = 16 << 20
	// subqueryStep is that of subqueries without one.
	subqueryStep = time.Minute
	// MaxPoints is how many points a series of an answer may have, as in Prometheus.
	MaxPoints = 11_000
	// MaxQuery is how many bytes a query's text may have. The parser's time grows with the square of
	// operators: it takes up to 150 ms for as many.
	MaxQuery = 16 << 10
	// MaxDepth is how deep a query may be nested, of which a chain of operators is one level each.
	// Each level is indented where it is formatted.
	MaxDepth = 1000
)

// Engine evaluates PromQL. Make it with New.
type Engine struct {
	exec   *query.Executor
	clock  clock.Clock
	parser parser.Parser
	trees  *handover
	engine *promql.Engine
	// general has nothing summed up in the executor: for tests, which compare.
	general bool
}

// New returns an engine over an executor, within whose limits it stays. It starts nothing.
func New(x *query.Executor, c clock.Clock, log *slog.Logger) *Engine {
	p := newParser()
	e := &Engine{exec: x, clock: c, parser: p, trees: &handover{Parser: p, trees: make(map[string]parser.Expr)}}
	timeout := x.Limits.Time
	if timeout <= 0 {
		timeout = time.Hour // who asks has a context
	}
	e.engine = promql.NewEngine(promql.EngineOpts{
		Logger: log, MaxSamples: MaxSamples, Timeout: timeout, LookbackDelta: Lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true, EnableDelayedNameRemoval: true,
		Parser: e.trees,
	})
	return e
}

// newParser returns a parser of all that Prometheus has, names with dots included, but for
// info: it selects while it is evaluated.
func newParser() parser.Parser {
	functions := maps.Clone(parser.Functions)
	delete(functions, "info")
	return parser.NewParser(parser.Options{
		EnableExperimentalFunctions: true, EnableBinopFillModifiers: true, EnableUnquotedUTF8Names: true, Functions: functions,
	})
}

// Query is one PromQL query.
type Query struct {
	Text string
	// Start and End are both the time of an instant query, whose Step is 0.
	Start, End time.Time
	Step       time.Duration
	Lookback   time.Duration // of gauges; 0: the constant
	Limit      int           // series of the answer; 0: no limit
}

// session is one query under way.
type session struct {
	e        *Engine
	rd       *query.Reading
	names    *names
	now      int64 // seconds
	lookback int64 // seconds
	made     matchers
	plans    []*plan
	cells    tally
	warnings []string
}

// Run answers q. Its errors are *BadQuery, *query.LimitError, *ExecutionError, *TimeoutError,
// *CanceledError, or what keeps the executor from working.
func (e *Engine) Run(ctx context.Context, q Query) (*Result, error) {
	for made := make(matchers); ; {
		tree, err := e.parse(q.Text) // which is rewritten each time
		if err != nil {
			return nil, err
		}
		if err := q.check(tree); err != nil {
			return nil, err
		}
		s := e.session(&q)
		s.made = made
		all, tree, err := s.read(ctx, &q, tree)
		if err == nil {
			return s.answer(ctx, &q, tree, all)
		}
		if err := query.Settle(ctx, err); err != nil {
			return nil, early(ctx, err)
		}
	}
}

func (e *Engine) session(q *Query) *session {
	s := &session{e: e, now: e.clock.Now().Unix(), lookback: int64(Lookback / time.Second), made: make(matchers)}
	if q.Lookback > 0 {
		s.lookback = int64(max(time.Second, q.Lookback) / time.Second)
	}
	return s
}

// answer evaluates a tree for which everything was read.
func (s *session) answer(ctx context.Context, q *Query, tree parser.Expr, all *querier) (*Result, error) {
	out := &Result{warnings: s.warnings}
	if m, ok := s.direct(q, tree, all); ok {
		out.value = m
	} else {
		pq, err := s.prepared(ctx, q, tree, all)
		if err != nil {
			return nil, early(ctx, err)
		}
		if err := out.evaluate(ctx, q, pq); err != nil {
			return nil, err
		}
	}
	if m, ok := out.value.(promql.Matrix); ok && len(m) > 1 {
		out.times = timesOf(q)
	}
	if q.Limit > 0 && out.truncate(q.Limit) {
		out.warnings = append(out.warnings, "results truncated due to limit")
	}
	return out, nil
}

// direct returns the answer to a range query that has become one selector, whose values stand
// at the query's own times: the engine would only copy them.
func (s *session) direct(q *Query, tree parser.Expr, all *querier) (m promql.Matrix, ok bool) {
	for {
		p, ok := tree.(*parser.ParenExpr)
		if !ok {
			break
		}
		tree = p.Expr
	}
	if _, ok := tree.(*parser.VectorSelector); !ok || len(all.of) != 1 || q.Step == 0 {
		return nil, false
	}
	n := int(q.points())
	for _, x := range all.of[0] {
		if !x.stale || x.histograms != nil || x.first != q.Start.UnixMilli() || x.step != q.Step.Milliseconds() || len(x.values) != n {
			return nil, false
		}
	}
	m = make(promql.Matrix, 0, len(all.of[0]))
	for _, x := range all.of[0] {
		var points []promql.FPoint
		for i, v := range x.values {
			if math.IsNaN(v) {
				continue
			}
			if points == nil {
				points = make([]promql.FPoint, 0, n-i)
			}
			points = append(points, promql.FPoint{T: x.first + int64(i)*x.step, F: v})
		}
		if points != nil {
			m = append(m, promql.Series{Metric: x.labels, Floats: points})
		}
	}
	return m, true
}

// prepared returns a query of the engine that reads nothing any more.
func (s *session) prepared(ctx context.Context, q *Query, tree parser.Expr, from *querier) (promql.Query, error) {
	token := s.e.trees.put(tree)
	opts := promql.NewPrometheusQueryOpts(false, time.Duration(s.lookback)*time.Second, nil)
	var pq promql.Query
	var err error
	if q.Step == 0 {
		pq, err = s.e.engine.NewInstantQuery(ctx, from, opts, token, q.Start)
	} else {
		pq, err = s.e.engine.NewRangeQuery(ctx, from, opts, token, q.Start, q.End, q.Step)
	}
	if err != nil {
		return nil, &BadQuery{err.Error()}
	}
	return pq, nil
}

// The engine takes times as nanoseconds of 64 bits.
const earliest, latest = math.MinInt64 / 1_000_000, math.MaxInt64 / 1_000_000 // ms

func (q *Query) check(tree parser.Expr) error {
	for _, t := range []time.Time{q.Start, q.End} {
		if ms := t.UnixMilli(); ms <= earliest || ms >= latest {
			return badf("the time %d is too far away: times are from 1678 to 2262", t.Unix())
		}
	}
	if q.Step == 0 {
		return nil
	}
	if t := tree.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return badf("invalid parameter \"query\": invalid expression type %q for range query, must be Scalar or instant Vector", parser.DocumentedType(t))
	}
	if q.points() > MaxPoints+1 {
		return badf("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
	}
	return nil
}

// points is how many a series of the answer may have. A time.Duration does not hold all ranges.
func (q *Query) points() int64 {
	return (q.End.UnixMilli()-q.Start.UnixMilli())/max(1, q.Step.Milliseconds()) + 1
}

// read rewrites the tree, and reads what its selectors are for, all of it in one view.
func (s *session) read(ctx context.Context, q *Query, tree parser.Expr) (all *querier, rewritten parser.Expr, err error) {
	if s.rd, err = s.e.exec.Begin(ctx); err != nil {
		return nil, nil, err
	}
	defer s.rd.Close()
	s.names = &names{rd: s.rd}
	tree, err = promql.PreprocessExpr(tree, q.Start, q.End, q.Step)
	if err != nil {
		return nil, nil, &BadQuery{err.Error()}
	}
	if tree, err = s.rewrite(tree, scopeOf(q)); err != nil {
		return nil, nil, err
	}
	all = &querier{}
	for _, p := range s.plans {
		of, err := p.fill(ctx)
		if err != nil {
			return nil, nil, err
		}
		all.of = append(all.of, of)
	}
	if why := s.rd.Incomplete(); why != "" {
		s.warn(why)
	}
	return all, tree, nil
}

func (r *Result) evaluate(ctx context.Context, q *Query, pq promql.Query) error {
	res := pq.Exec(ctx)
	if res.Err != nil {
		defer pq.Close()
		return evaluation(ctx, res.Err)
	}
	r.value, r.close = res.Value, pq.Close
	warnings, infos := res.Warnings.AsStrings(q.Text, 10, 10)
	r.warnings = append(r.warnings, warnings...)
	r.infos = infos
	return nil
}

// warn adds a warning, once.
func (s *session) warn(text string) {
	for _, w := range s.warnings {
		if w == text {
			return
		}
	}
	s.warnings = append(s.warnings, text)
}

// warnWidened says that windows are other than what was asked for.
func (s *session) warnWidened(t metric.Tier, asked, width int64) {
	if asked == width {
		s.warn(fmt.Sprintf("only %s buckets are left of a part of the range, so windows end at whole ones", t))
		return
	}
	s.warn(fmt.Sprintf("only %s buckets are left of a part of the range, so windows of %s are %s long and end at whole buckets",
		t, metric.Span(asked), metric.Span(width)))
}

// finestKept returns the finest tier that is kept of all of some metrics.
func (s *session) finestKept(ids []metric.ID) metric.Tier {
	for _, t := range metric.Tiers {
		kept := true
		for _, id := range ids {
			h := s.rd.Held(id)
			kept = kept && h.Keeps(t)
		}
		if kept {
			return t
		}
	}
	return 0
}
