package promql

import (
	"context"
	"errors"
	"strconv"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// planLabel is the label of the matcher that tells a selector's plan. No text parses to it: a
// label's name is UTF-8.
const planLabel = "\xffplan"

// planMatcher is no MatchEqual: absent() would make labels of those.
func planMatcher(no int) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchNotEqual, planLabel, strconv.Itoa(no))
}

// querier gives the engine what was read for its selectors. It is a storage.Queryable of itself.
type querier struct{ of [][]*series }

// Querier implements storage.Queryable.
func (q *querier) Querier(int64, int64) (storage.Querier, error) { return q, nil }

// Select implements storage.Querier.
func (q *querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	for _, m := range matchers {
		if m.Name == planLabel {
			no, err := strconv.Atoi(m.Value)
			if err != nil || no >= len(q.of) {
				break
			}
			return &set{all: q.of[no], at: -1}
		}
	}
	return storage.ErrSeriesSet(errors.New("BUG: the engine selects what was not read"))
}

// Warnings implements storage.SeriesSet: a query's warnings are known before.
func (s *set) Warnings() annotations.Annotations { return nil }

// LabelValues implements storage.Querier; the engine never asks.
func (q *querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("BUG: the engine asks for label values")
}

// LabelNames implements storage.Querier; the engine never asks.
func (q *querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("BUG: the engine asks for label names")
}

// Close implements storage.Querier.
func (q *querier) Close() error { return nil }

// handover is the engine's parser: it hands over trees that are parsed and rewritten
// already, each under a token that stands in place of the query's text.
type handover struct {
	parser.Parser

	mu    sync.Mutex
	next  uint64
	trees map[string]parser.Expr
}

// put returns the token of a tree.
func (h *handover) put(tree parser.Expr) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	token := strconv.FormatUint(h.next, 10)
	h.trees[token] = tree
	return token
}

// ParseExpr implements parser.Parser.
func (h *handover) ParseExpr(token string) (parser.Expr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tree, ok := h.trees[token]
	if !ok {
		return nil, errors.New("BUG: a query that nobody has handed over")
	}
	delete(h.trees, token)
	return tree, nil
}
