package web

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"

	"github.com/valyala/fasthttp"

	"cairn/ingest"
)

// maxPassedOver is how much of a refused body is read and thrown away, so that a client
// that sends all before it reads learns why: four times what is allowed. Behind more the
// connection is reset.
const maxPassedOver = 4 * ingest.MaxWire

// ingest takes a batch. Its body is read by whoever has found room for it: of one
// that is refused before, fasthttp has read 8 KiB at most.
func (s *Server) ingest(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	q := ingest.Request{
		Producer: string(h.Peek("Cairn-Producer")), Sequence: string(h.Peek("Cairn-Sequence")), Priority: string(h.Peek("Cairn-Priority")),
		ContentEncoding: string(h.ContentEncoding()), ContentType: string(h.ContentType()),
		From: remote(ctx),
	}
	q.Length, q.Body = body(ctx)
	answer, refusal := s.o.Ingest(&q)
	if refusal == nil {
		ctx.SetContentType("application/json")
		ctx.Response.SetBodyRaw(appendAnswer(nil, &answer))
		return
	}
	if q.Length <= maxPassedOver {
		_, _ = io.CopyN(io.Discard, q.Body, maxPassedOver) // what went wrong with it is the client's
	}
	failRefusal(ctx, refusal)
}

// body returns the body of a request and its length, which is -1 if it is not known.
func body(ctx *fasthttp.RequestCtx) (int, io.Reader) {
	r := ctx.RequestBodyStream()
	if r == nil {
		b := ctx.PostBody()
		return len(b), bytes.NewReader(b)
	}
	return max(ctx.Request.Header.ContentLength(), -1), r
}

// smallBody reads the body of a request that has no use for a large one.
func smallBody(ctx *fasthttp.RequestCtx) ([]byte, bool) { return bodyUpTo(ctx, bodyBytes) }

// drained is how much of a body that is too large is read all the same.
const drained = 1 << 20

// bodyUpTo reads a body of up to most bytes, or answers that it is larger.
func bodyUpTo(ctx *fasthttp.RequestCtx, most int) ([]byte, bool) {
	n, r := body(ctx)
	b := make([]byte, 0, min(max(n, 512), bodyBytes)+1)
	for n <= most && len(b) <= most {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		k, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+k]
		switch {
		case err == io.EOF && len(b) <= most:
			return b, true
		case err != nil && err != io.EOF:
			fail(ctx, fasthttp.StatusBadRequest, "the body broke off, or did not arrive in time", "")
			return nil, false
		}
	}
	// A connection that is closed with something unread is reset, and the answer may be lost: the
	// rest of what is not much too large is read.
	_, _ = io.CopyN(io.Discard, r, drained) // whatever comes of it, the answer is the same
	fail(ctx, fasthttp.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", most), "")
	return nil, false
}

func remote(ctx *fasthttp.RequestCtx) netip.Addr {
	if a, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// appendAnswer writes the answer to a batch as JSON.
func appendAnswer(b []byte, a *ingest.Answer) []byte {
	b = strconv.AppendUint(append(b, `{"accepted":`...), uint64(a.Accepted), 10)
	b = append(b, `,"rejected":[`...)
	for _, r := range a.Rejected {
		b = strconv.AppendUint(append(comma(b), `{"line":`...), uint64(r.Line), 10)
		b = appendString(append(b, `,"reason":`...), r.Reason.String())
		b = append(appendString(append(b, `,"sample":`...), r.Sample), '}')
	}
	b = append(b, ']')
	if int(a.RejectedTotal) > len(a.Rejected) { // those of long ago are not listed any more
		b = strconv.AppendUint(append(b, `,"rejected_total":`...), uint64(a.RejectedTotal), 10)
	}
	b = strconv.AppendBool(append(b, `,"duplicate":`...), a.Duplicate)
	return append(b, "}\n"...)
}
