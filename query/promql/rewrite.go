package promql

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"cairn/internal/metric"
	"cairn/query"
)

// scope is when a part of a tree is evaluated, in ms.
type scope struct {
	start, end, step int64
	subquery         bool
	// parent is the function whose argument this is; "": none is around it.
	parent string
	// nameless says that what is around it drops the names of metrics.
	nameless bool
}

func scopeOf(q *Query) scope {
	s := scope{start: q.Start.UnixMilli(), end: q.End.UnixMilli(), step: q.Step.Milliseconds()}
	if q.Step == 0 {
		s.end = s.start
	}
	return s
}

// in returns the scope of what is in a subquery, as the engine evaluates it: at multiples of its
// step.
func (sc scope) in(e *parser.SubqueryExpr) scope {
	start, end := sc.start, sc.end
	if e.Timestamp != nil {
		start, end = *e.Timestamp, *e.Timestamp
	} else if sc.step > 0 {
		end = start + (end-start)/sc.step*sc.step
	}
	step := e.Step.Milliseconds()
	if step == 0 {
		step = subqueryStep.Milliseconds()
	}
	offset, width := e.OriginalOffset.Milliseconds(), e.Range.Milliseconds()
	first := step * ((start - offset - width) / step)
	if first <= start-offset-width {
		first += step
	}
	return scope{start: first, end: end - offset, step: step, subquery: true}
}

// instants returns when a selector is looked up.
func (sc scope) instants(v *parser.VectorSelector) instants {
	offset := v.OriginalOffset.Milliseconds()
	if v.Timestamp != nil {
		return instants{first: *v.Timestamp - offset, n: 1}
	}
	n := 1
	if sc.step > 0 && sc.end > sc.start {
		n = int((sc.end-sc.start)/sc.step) + 1
	}
	if sc.end < sc.start {
		n = 0
	}
	return instants{first: sc.start - offset, step: sc.step, n: n}
}

// width is the bucket that an instant selector shows of what adds up, in seconds.
func (sc scope) width() int64 {
	if sc.step == 0 {
		return int64(InstantWindow / time.Second)
	}
	return wholeSeconds(time.Duration(sc.step) * time.Millisecond)
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// rewrite returns the tree that the engine evaluates, and plans its selectors. Expressions that
// PreprocessExpr has found to be the same at all steps come unwrapped: the engine finds
// them again.
func (s *session) rewrite(expr parser.Expr, sc scope) (parser.Expr, error) {
	var err error
	parent, nameless := sc.parent, sc.nameless
	sc.parent, sc.nameless = "", false
	switch e := expr.(type) {
	case *parser.StepInvariantExpr:
		return s.rewrite(e.Expr, sc)
	case *parser.ParenExpr:
		sc.parent, sc.nameless = parent, nameless
		e.Expr, err = s.rewrite(e.Expr, sc)
	case *parser.UnaryExpr:
		e.Expr, err = s.rewrite(e.Expr, sc)
	case *parser.BinaryExpr:
		if e.LHS, err = s.rewrite(e.LHS, sc); err == nil {
			e.RHS, err = s.rewrite(e.RHS, sc)
		}
	case *parser.AggregateExpr:
		if e.Param != nil {
			if e.Param, err = s.rewrite(e.Param, sc); err != nil {
				return nil, err
			}
		}
		var done bool
		if done, err = s.pushDown(e, sc); done || err != nil {
			return e, err
		}
		sc.nameless = dropsNames(e)
		e.Expr, err = s.rewrite(e.Expr, sc)
	case *parser.SubqueryExpr:
		err = s.subquery(e, sc)
	case *parser.Call:
		sc.parent, sc.nameless = parent, nameless
		return s.call(e, sc)
	case *parser.MatrixSelector:
		return e, s.samples(e, sc, nil)
	case *parser.VectorSelector:
		sc.parent = parent
		err = s.instant(e, sc)
	}
	return expr, err
}

func (s *session) subquery(e *parser.SubqueryExpr, sc scope) (err error) {
	in := sc.in(e)
	if n := (in.end - in.start) / in.step; n > maxCells {
		return badf("a subquery has more than %d steps; take a longer step or a shorter range", maxCells)
	}
	e.RangeExpr, e.StepExpr, e.OriginalOffsetExpr = nil, nil, nil
	e.Expr, err = s.rewrite(e.Expr, in)
	return err
}

// plain finds out what a selector is for, and plans nothing yet.
func (s *session) plain(v *parser.VectorSelector) (f filters, of []exposure, err error) {
	if v.Anchored || v.Smoothed {
		return f, nil, badf("the modifiers anchored and smoothed have no meaning here: counters are exact at the edges of their windows")
	}
	v.OriginalOffsetExpr = nil // it is evaluated
	if f, err = filtersOf(v.LabelMatchers, s.made); err != nil {
		return f, nil, err
	}
	of, err = s.names.find(f.names)
	return f, of, err
}

// plan makes a selector that of a plan, of which it prepares the reads.
func (s *session) plan(v *parser.VectorSelector, p *plan, of []exposure) error {
	v.LabelMatchers = append(append([]*labels.Matcher{}, v.LabelMatchers...), planMatcher(len(s.plans)))
	s.plans = append(s.plans, p)
	p.cells = &s.cells
	if p.when.n == 0 {
		return nil
	}
	classes, members := byClass(of)
	for _, c := range classes {
		if err := p.add(s, c, members[c]); err != nil {
			return err
		}
	}
	return nil
}

// instant plans a selector without a range.
func (s *session) instant(v *parser.VectorSelector, sc scope) error {
	f, of, err := s.plain(v)
	if err != nil {
		return err
	}
	p := &plan{filters: f, when: sc.instants(v), window: sc.width(), lookback: s.lookback}
	if sc.parent == "timestamp" && len(withoutGauges(of)) == 0 {
		p.shape, p.finest, p.window = samples, true, s.lookback // when it was read
	}
	return s.plan(v, p, of)
}

// samples plans a range selector whose buckets the engine sees one by one. change may
// change the plan.
func (s *session) samples(m *parser.MatrixSelector, sc scope, change func(*plan)) error {
	v := m.VectorSelector.(*parser.VectorSelector)
	f, of, err := s.plain(v)
	if err != nil {
		return err
	}
	p := &plan{shape: samples, finest: true, filters: f, when: sc.instants(v), window: wholeSeconds(m.Range)}
	m.RangeExpr = nil
	if change != nil {
		change(p)
	}
	return s.plan(v, p, of)
}

// summing are the functions that become one value of all buckets in the window: for what
// adds up, or for gauges.
var summing = map[string]struct{ adding, gauges bool }{
	"increase": {adding: true}, "rate": {adding: true}, "sum_over_time": {adding: true, gauges: true},
	"count_over_time": {gauges: true}, "avg_over_time": {gauges: true}, "min_over_time": {gauges: true},
	"max_over_time": {gauges: true}, "last_over_time": {gauges: true},
}

// call rewrites a function's call.
func (s *session) call(e *parser.Call, sc scope) (parser.Expr, error) {
	outer := sc
	sc.parent, sc.nameless = e.Func.Name, false
	for i, arg := range e.Args {
		for {
			if inner, ok := arg.(*parser.StepInvariantExpr); ok {
				arg = inner.Expr
				continue
			}
			break
		}
		switch a := arg.(type) {
		case *parser.MatrixSelector:
			return s.overRange(e, i, a, sc, outer)
		case *parser.SubqueryExpr:
			return s.overSubquery(e, i, a, sc)
		}
		var err error
		if e.Args[i], err = s.rewrite(arg, sc); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// overRange rewrites the call of a function of a range selector, which is its argument no.
func (s *session) overRange(e *parser.Call, no int, m *parser.MatrixSelector, sc, outer scope) (parser.Expr, error) {
	for i := range e.Args {
		if i != no {
			var err error
			if e.Args[i], err = s.rewrite(e.Args[i], sc); err != nil {
				return nil, err
			}
		}
	}
	fn := e.Func.Name
	v := m.VectorSelector.(*parser.VectorSelector)
	_, of, err := s.plain(v)
	if err != nil {
		return nil, err
	}
	e.Args[no] = m
	gauges := 0
	for _, x := range of {
		if x.id.Kind == metric.Gauge {
			gauges++
		}
	}
	how, sums := summing[fn]
	switch {
	case sums && how.gauges && gauges == len(of) && gauges > 0:
		return s.windows(e, m, sc, of, outer)
	case sums && how.adding && gauges < len(of) || sums && how.adding && len(of) == 0:
		if gauges > 0 {
			s.warn(fmt.Sprintf("%s of a selector that is for gauges too leaves them out", fn))
			of = withoutGauges(of)
		}
		return s.windows(e, m, sc, of, outer)
	case gauges < len(of) && fn == "irate":
		// The last bucket's events a second.
		e.Func = parser.Functions["last_over_time"] // which keeps the name, and a product does not
		return product(e, 1), s.samples(m, sc, func(p *plan) { p.perSecond = true })
	case gauges < len(of) && fn == "resets":
		e.Func = parser.Functions["count_over_time"]
		return product(e, 0), s.samples(m, sc, nil) // what only ever adds up has none
	case fn == "present_over_time" || fn == "absent_over_time":
		return e, s.samples(m, sc, func(p *plan) { p.finest = false })
	}
	return e, s.samples(m, sc, nil)
}

func product(e parser.Expr, n float64) parser.Expr {
	return &parser.BinaryExpr{Op: parser.MUL, LHS: e, RHS: &parser.NumberLiteral{Val: n}}
}

func withoutGauges(of []exposure) (rest []exposure) {
	for _, e := range of {
		if e.id.Kind != metric.Gauge {
			rest = append(rest, e)
		}
	}
	return rest
}

// alone is a range that holds just the value at an instant: those that have been summed up are there only.
const alone = time.Millisecond

// windows replaces the call of a function by what has been worked out for its windows. The
// engine sees it through sum_over_time of one value each, which does what its like do with names; where that makes no
// difference, as there is one metric only, or as names are dropped, the selector itself.
func (s *session) windows(e *parser.Call, m *parser.MatrixSelector, sc scope, of []exposure, outer scope) (parser.Expr, error) {
	v := m.VectorSelector.(*parser.VectorSelector)
	f, _, err := s.plain(v)
	if err != nil {
		return nil, err
	}
	p := &plan{filters: f, when: sc.instants(v), window: wholeSeconds(m.Range), fn: e.Func.Name, perSecond: e.Func.Name == "rate"}
	if m.Range%time.Second != 0 {
		s.warn(fmt.Sprintf("buckets are whole seconds, so a window of %s is %s long", m.Range, time.Duration(p.window)*time.Second))
	}
	if (len(of) == 1 || outer.nameless) && outer.parent == "" && e.Func.Name != "last_over_time" {
		p.nameless = len(of) == 1 // others would be taken for one another
		return v, s.plan(v, p, of)
	}
	m.Range, m.RangeExpr = alone, nil
	if e.Func.Name != "last_over_time" {
		e.Func = parser.Functions["sum_over_time"]
	}
	return e, s.plan(v, p, of)
}

// overSubquery rewrites the call of a function of a subquery: of what adds up, increase is the
// sum of its steps, if these are just buckets.
func (s *session) overSubquery(e *parser.Call, no int, sub *parser.SubqueryExpr, sc scope) (parser.Expr, error) {
	adds := false
	if fn := e.Func.Name; fn == "increase" || fn == "rate" {
		if v, ok := unwrapped(sub.Expr).(*parser.VectorSelector); ok {
			_, of, err := s.plain(v)
			if err != nil {
				return nil, err
			}
			adds = len(of) > 0 && len(withoutGauges(of)) == len(of)
		}
	}
	for i := range e.Args {
		if i == no {
			continue
		}
		var err error
		if e.Args[i], err = s.rewrite(e.Args[i], sc); err != nil {
			return nil, err
		}
	}
	e.Args[no] = sub
	if err := s.subquery(sub, sc); err != nil {
		return nil, err
	}
	if !adds {
		return e, nil
	}
	perSecond := e.Func.Name == "rate"
	e.Func = parser.Functions["sum_over_time"]
	if !perSecond {
		return e, nil
	}
	return &parser.BinaryExpr{Op: parser.DIV, LHS: e, RHS: &parser.NumberLiteral{Val: sub.Range.Seconds()}}, nil
}

// unwrapped returns an expression without parentheses and the engine's wraps.
func unwrapped(e parser.Expr) parser.Expr {
	for {
		switch x := e.(type) {
		case *parser.ParenExpr:
			e = x.Expr
		case *parser.StepInvariantExpr:
			e = x.Expr
		default:
			return e
		}
	}
}

// pushDown has the executor sum up what is only asked for in sums: sum by (...) of increase,
// rate or sum_over_time of a range of what adds up, or of an instant selector of it. The engine
// adds up the few groups that are left. It reports whether it did.
func (s *session) pushDown(e *parser.AggregateExpr, sc scope) (bool, error) {
	if e.Op != parser.SUM || sc.subquery || s.e.general {
		return false, nil
	}
	var v *parser.VectorSelector
	p := &plan{nameless: true}
	switch x := unwrapped(e.Expr).(type) {
	case *parser.VectorSelector:
		v, p.window = x, sc.width()
	case *parser.Call:
		fn := x.Func.Name
		if fn != "increase" && fn != "rate" && fn != "sum_over_time" {
			return false, nil
		}
		m, ok := unwrapped(x.Args[0]).(*parser.MatrixSelector)
		if !ok || m.Range%time.Second != 0 {
			return false, nil
		}
		v, p.window, p.perSecond = m.VectorSelector.(*parser.VectorSelector), int64(m.Range/time.Second), fn == "rate"
	default:
		return false, nil
	}
	f, of, err := s.plain(v)
	if err != nil || v.Timestamp != nil || len(of) == 0 {
		return false, err
	}
	by, ok := grouping(e, of)
	if !ok || len(f.rest) > 0 {
		return false, nil
	}
	p.filters, p.when, p.group = f, sc.instants(v), by
	e.Expr = v
	return true, s.plan(v, p, of)
}

// dropsNames reports whether an aggregation has no use for names.
func dropsNames(e *parser.AggregateExpr) bool {
	switch e.Op {
	case parser.SUM, parser.AVG, parser.COUNT, parser.MIN, parser.MAX, parser.GROUP, parser.STDDEV, parser.STDVAR, parser.QUANTILE:
		return e.Without || !slices.Contains(e.Grouping, model.MetricNameLabel)
	}
	return false
}

// grouping is that of an aggregation, if the executor can do it.
func grouping(e *parser.AggregateExpr, of []exposure) (*query.Grouping, bool) {
	by := &query.Grouping{}
	if e.Without {
		by.Mode = query.WithoutKeys
	}
	for _, x := range of {
		if !x.class().adds() {
			return nil, false
		}
	}
	for _, key := range e.Grouping {
		switch key {
		case model.MetricNameLabel:
			if !e.Without {
				return nil, false
			}
		default:
			by.Keys = append(by.Keys, key)
		}
	}
	return by, true
}
