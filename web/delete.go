package web

import (
	"errors"

	"github.com/valyala/fasthttp"

	"cairn/query"
)

// deleteSeries answers when what matches is gone.
func (s *Server) deleteSeries(ctx *fasthttp.RequestCtx) {
	switch {
	case fromElsewhere(ctx):
		fail(ctx, fasthttp.StatusForbidden, "nothing is deleted for a page that is not this server's", "")
		return
	case s.o.Delete == nil:
		fail(ctx, fasthttp.StatusForbidden, "this server deletes nothing; start it with --allow-delete, or CAIRN_ALLOW_DELETE=true in its environment", "")
		return
	}
	// A form in the body would be ignored, and its filters with it.
	if n := ctx.Request.Header.ContentLength(); n > 0 || n == -1 { // -1: it is sent in chunks
		fail(ctx, fasthttp.StatusBadRequest, "a deletion has no body; its parameters go into the URL, as in /api/series?metric=a&filter=k:v", "")
		return
	}
	d, err := query.ParseDeletion(params(ctx.QueryArgs()))
	if err != nil {
		var p *query.ParamError
		if !errors.As(err, &p) {
			panic("BUG: parameters are wrong, and it does not say which")
		}
		fail(ctx, fasthttp.StatusBadRequest, p.Sentence, p.Param)
		return
	}
	report, refusal := s.o.Delete(ctx, d)
	if refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	writeJSON(ctx, report)
}
