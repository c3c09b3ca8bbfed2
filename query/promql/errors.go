package promql

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/prometheus/prometheus/promql"

	"cairn/query"
)

// The errors of a query unwrap to those of package query that mean the same, so that who counts
// queries need not know PromQL.

// BadQuery says what is wrong with a query.
type BadQuery struct{ Sentence string }

// Error implements error.
func (e *BadQuery) Error() string { return e.Sentence }

// Unwrap returns a *query.ParamError.
func (e *BadQuery) Unwrap() error { return &query.ParamError{Param: "query", Sentence: e.Sentence} }

func badf(format string, args ...any) error { return &BadQuery{fmt.Sprintf(format, args...)} }

// ExecutionError says why a query cannot be evaluated, such as series that match twice.
type ExecutionError struct{ Sentence string }

// Error implements error.
func (e *ExecutionError) Error() string { return e.Sentence }

// Unwrap returns a *query.ParamError.
func (e *ExecutionError) Unwrap() error {
	return &query.ParamError{Param: "query", Sentence: e.Sentence}
}

// TimeoutError says that a query's time was over.
type TimeoutError struct{ Sentence string }

// Error implements error.
func (e *TimeoutError) Error() string { return e.Sentence }

// Unwrap returns a *query.LimitError.
func (e *TimeoutError) Unwrap() error { return &query.LimitError{Sentence: e.Sentence} }

// CanceledError says that nobody waits for the answer any more.
type CanceledError struct{ Sentence string }

// Error implements error.
func (e *CanceledError) Error() string { return e.Sentence }

// Unwrap returns what a context says then.
func (e *CanceledError) Unwrap() error { return context.Canceled }

// evaluation returns an error of the engine as one that Run names. A panic, or a selector that was not
// read, is no fault of the query.
func evaluation(ctx context.Context, err error) error {
	var panicked runtime.Error
	var held promql.ErrStorage
	switch e := early(ctx, err).(type) {
	case *query.LimitError, *BadQuery, *TimeoutError, *CanceledError:
		return e
	}
	if errors.As(err, &panicked) || errors.As(err, &held) {
		return err
	}
	return &ExecutionError{err.Error()}
}

// early returns err as one of the errors that Run names, if it is one of them.
func early(ctx context.Context, err error) error {
	var limit *query.LimitError
	var bad *BadQuery
	var late *TimeoutError
	var timeout promql.ErrQueryTimeout
	var canceled promql.ErrQueryCanceled
	var many promql.ErrTooManySamples
	var held promql.ErrStorage
	switch {
	case errors.As(err, &late): // which is a limit, too
		return late
	case errors.As(err, &limit):
		return limit
	case errors.As(err, &bad):
		return bad
	case errors.As(err, &many):
		return &query.LimitError{Sentence: fmt.Sprintf("this query has more than %d values in memory at once: filter, aggregate, or take a longer step or a shorter range", MaxSamples)}
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return &TimeoutError{"the query took longer than it may and was stopped; ask for a shorter range, a longer step or fewer series"}
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		return &CanceledError{"the query was canceled"}
	case errors.As(err, &held):
		return err
	case ctx.Err() != nil:
		return early(ctx, ctx.Err())
	}
	return err
}
