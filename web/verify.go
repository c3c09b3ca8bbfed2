package web

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"cairn/ingest"
)

// verify answers when the comparison is done, which may take minutes. It ends early if
// the server stops.
func (s *Server) verify(ctx *fasthttp.RequestCtx) {
	report, refusal := s.o.Verify(ctx)
	if refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	writeJSON(ctx, report)
}

func failRefusal(ctx *fasthttp.RequestCtx, r *ingest.Refusal) {
	if r.Wait > 0 {
		ctx.Response.Header.Set("Retry-After", strconv.Itoa(r.Wait))
	}
	fail(ctx, r.Status, r.Sentence, r.Param)
}
