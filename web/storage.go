package web

import "github.com/valyala/fasthttp"

const (
	maxStored     = 1_000 // all that a count keeps
	defaultStored = 20
)

// storage answers with figures of a minute ago at most.
func (s *Server) storage(ctx *fasthttp.RequestCtx) {
	n, ok := number(ctx, "metrics", defaultStored, maxStored)
	if !ok {
		return
	}
	storage, refusal := s.o.Storage(n)
	if refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	writeJSON(ctx, storage)
}
