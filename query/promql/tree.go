package promql

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"

	"cairn/internal/matcher"
)

// Format returns a query as it is usually written.
func (e *Engine) Format(text string) (string, error) {
	tree, err := e.parse(text)
	if err != nil {
		return "", err
	}
	return tree.Pretty(0), nil
}

// Tree returns a query's tree as parse_query of Prometheus' API has it, of maps, slices,
// strings and the like.
func (e *Engine) Tree(text string) (any, error) {
	tree, err := e.parse(text)
	if err != nil {
		return nil, err
	}
	return node(tree), nil
}

func (e *Engine) parse(text string) (parser.Expr, error) {
	if len(text) > MaxQuery {
		return nil, badf("the query has %d bytes; %d are allowed", len(text), MaxQuery)
	}
	if err := checkRegexps(text); err != nil {
		return nil, err
	}
	tree, err := e.parser.ParseExpr(text)
	if err != nil {
		return nil, badf("invalid parameter \"query\": %s", err)
	}
	depth := 0
	parser.Inspect(tree, func(_ parser.Node, path []parser.Node) error {
		depth = max(depth, len(path))
		return nil
	})
	if depth > MaxDepth {
		return nil, badf("the query is nested %d levels deep; %d are allowed", depth, MaxDepth)
	}
	if err := checkLabels(tree); err != nil {
		return nil, err
	}
	return tree, nil
}

// checkRegexps refuses regular expressions that cost too much, before they are compiled: that
// alone may take hundreds of megabytes.
func checkRegexps(text string) error {
	l := parser.Lex(text)
	for compares := false; ; {
		var item parser.Item
		l.NextItem(&item)
		switch {
		case item.Typ == parser.EOF, item.Typ == parser.ERROR:
			return nil // the parser says what is wrong
		case compares && item.Typ == parser.STRING:
			if re, err := strutil.Unquote(item.Val); err == nil {
				if err := checkRegexp(re); err != nil {
					return err
				}
			}
		}
		compares = item.Typ == parser.EQL_REGEX || item.Typ == parser.NEQ_REGEX
	}
}

func checkRegexp(text string) error {
	if _, err := matcher.New("", matcher.Regexp, text); err != nil {
		return badf("invalid parameter \"query\": %s", strings.Replace(err.Error(), ` for the tag ""`, "", 1))
	}
	return nil
}

func node(e parser.Expr) any {
	switch n := e.(type) {
	case *parser.AggregateExpr:
		return map[string]any{
			"type": "aggregation", "op": n.Op.String(), "expr": node(n.Expr), "param": node(n.Param),
			"grouping": list(n.Grouping), "without": n.Without,
		}
	case *parser.BinaryExpr:
		return map[string]any{
			"type": "binaryExpr", "op": n.Op.String(), "lhs": node(n.LHS), "rhs": node(n.RHS), "matching": matching(n.VectorMatching), "bool": n.ReturnBool,
		}
	case *parser.Call:
		args := []any{}
		for _, a := range n.Args {
			args = append(args, node(a))
		}
		return map[string]any{
			"type": "call", "args": args, "func": map[string]any{
				"name": n.Func.Name, "argTypes": n.Func.ArgTypes, "variadic": n.Func.Variadic, "returnType": n.Func.ReturnType,
			},
		}
	case *parser.MatrixSelector:
		out := selector(n.VectorSelector.(*parser.VectorSelector), "matrixSelector")
		out["range"], out["rangeExpr"] = n.Range.Milliseconds(), duration(n.RangeExpr)
		return out
	case *parser.VectorSelector:
		return selector(n, "vectorSelector")
	case *parser.SubqueryExpr:
		return map[string]any{
			"type": "subquery", "expr": node(n.Expr), "range": n.Range.Milliseconds(), "rangeExpr": duration(n.RangeExpr),
			"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": duration(n.OriginalOffsetExpr),
			"step": n.Step.Milliseconds(), "stepExpr": duration(n.StepExpr), "timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd),
		}
	case *parser.NumberLiteral:
		return map[string]any{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64)}
	case *parser.StringLiteral:
		return map[string]any{"type": "stringLiteral", "val": n.Val}
	case *parser.ParenExpr:
		return map[string]any{"type": "parenExpr", "expr": node(n.Expr)}
	case *parser.UnaryExpr:
		return map[string]any{"type": "unaryExpr", "op": n.Op.String(), "expr": node(n.Expr)}
	}
	return nil // as of an aggregation's missing parameter
}

func selector(v *parser.VectorSelector, kind string) map[string]any {
	matchers := []any{}
	for _, m := range v.LabelMatchers {
		matchers = append(matchers, matcherNode(m))
	}
	return map[string]any{
		"type": kind, "name": v.Name, "offset": v.OriginalOffset.Milliseconds(), "offsetExpr": duration(v.OriginalOffsetExpr), "matchers": matchers,
		"timestamp": v.Timestamp, "startOrEnd": startOrEnd(v.StartOrEnd), "anchored": v.Anchored, "smoothed": v.Smoothed,
	}
}

func matcherNode(m *labels.Matcher) any {
	return map[string]any{"name": m.Name, "value": m.Value, "type": m.Type.String()}
}

func matching(m *parser.VectorMatching) any {
	if m == nil {
		return nil
	}
	return map[string]any{
		"card": m.Card.String(), "labels": list(m.MatchingLabels), "on": m.On, "include": list(m.Include),
		"fillValues": map[string]any{"lhs": m.FillValues.LHS, "rhs": m.FillValues.RHS},
	}
}

// duration is the node of a duration that is worked out; nil: it is a plain one.
func duration(e parser.Expr) any {
	switch n := e.(type) {
	case *parser.DurationExpr:
		if n != nil {
			return map[string]any{"type": "durationExpr", "op": n.Op.String(), "lhs": duration(n.LHS), "rhs": duration(n.RHS), "wrapped": n.Wrapped}
		}
	case *parser.NumberLiteral:
		if n != nil {
			return map[string]any{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64), "duration": n.Duration}
		}
	}
	return nil
}

func startOrEnd(i parser.ItemType) any {
	if i == 0 {
		return nil
	}
	return i.String()
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// ParseDuration reads a duration as PromQL writes it, such as 1h30m.
func ParseDuration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	return time.Duration(d), err
}
