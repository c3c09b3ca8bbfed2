package web

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"cairn/query"
)

// Limits where the settings name none.
const (
	defaultQueries   = 8
	defaultQueryTime = 10 * time.Second
)

// statusHungUp is what nginx notes where nobody reads an answer any more.
const statusHungUp = 499

// gate lets some queries run at once, and others wait for their turn.
type gate struct {
	tokens  chan struct{} // one a running query
	streams chan struct{} // one of them that a stream evaluates: half of them at most
	time    time.Duration // that a query may take, waiting included
	unread  *unread
}

func newGate(queries int, limit time.Duration) gate {
	if queries == 0 {
		queries = defaultQueries
	}
	if limit == 0 {
		limit = defaultQueryTime
	}
	return gate{make(chan struct{}, queries), make(chan struct{}, max(1, queries/2)), limit, &unread{most: unreadBytes}}
}

// turn runs f as a query of a client: in its turn, and with a context that ends when its
// time is over or the client hangs up.
func (s *Server) turn(ctx *fasthttp.RequestCtx, text string, f func(context.Context) error) error {
	watched, stop := watchHangup(s.base, ctx.Conn())
	defer stop()
	return s.admit(watched, text, ctx.RemoteAddr().String(), f)
}

// admit runs f once the gate lets it, with a context that ends when its time is over. An
// error of that is a *query.LimitError.
func (s *Server) admit(parent context.Context, text, client string, f func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(parent, s.gate.time)
	defer cancel()
	running := s.activity.Begin(text, client)
	err = errors.New("BUG: a query panicked")
	defer func() { running.End(err) }()
	select {
	case s.gate.tokens <- struct{}{}:
	case <-ctx.Done():
		err = ctx.Err()
		if errors.Is(err, context.DeadlineExceeded) {
			err = &query.LimitError{Sentence: fmt.Sprintf("%d queries run already, and this one has waited %s for its turn; ask again, or raise --max-queries", cap(s.gate.tokens), s.gate.time)}
		}
		return err
	}
	defer func() { <-s.gate.tokens }()
	running.Turn()
	if err2 := f(ctx); errors.Is(err2, context.DeadlineExceeded) {
		err = &query.LimitError{Sentence: fmt.Sprintf("the query took longer than %s and was stopped; ask for a shorter range, a longer step or fewer series, or raise --max-query-time", s.gate.time)}
	} else {
		err = err2
	}
	return err
}

// gated makes a handler wait for its turn among the queries: a walk over all open
// sums, or an answer of megabytes, costs as much as one.
func (s *Server) gated(serve func(*fasthttp.RequestCtx)) func(*fasthttp.RequestCtx) {
	return func(ctx *fasthttp.RequestCtx) {
		err := s.turn(ctx, string(ctx.Path())+"?"+textOf(ctx.QueryArgs()), func(context.Context) error {
			serve(ctx)
			return nil
		})
		if err != nil {
			s.failQuery(ctx, err)
		}
	}
}

// textOf returns parameters as they stand in a URL.
func textOf(args *fasthttp.Args) string { return string(args.AppendBytes(nil)) }

func (s *Server) failQuery(ctx *fasthttp.RequestCtx, err error) {
	if errors.Is(err, context.Canceled) { // nobody reads this, or the server stops
		ctx.SetConnectionClose()
		fail(ctx, statusHungUp, "the query was canceled: its client hung up, or the server stops", "")
		return
	}
	code, sentence, param := s.blame(err)
	fail(ctx, code, sentence, param)
}

// blame returns what is answered to a query that has failed; where that is the server's
// fault, the log says why.
func (s *Server) blame(err error) (code int, sentence, param string) {
	var p *query.ParamError
	var limit *query.LimitError
	switch {
	case errors.As(err, &p):
		return fasthttp.StatusBadRequest, p.Sentence, p.Param
	case errors.As(err, &limit):
		return fasthttp.StatusUnprocessableEntity, limit.Sentence, limit.Param
	}
	s.o.Log.Error("query failed", "error", err)
	return fasthttp.StatusServiceUnavailable, "the query failed; the server's log says why, and counting goes on", ""
}
