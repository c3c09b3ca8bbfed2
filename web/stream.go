package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"cairn/query"
)

const (
	// heartbeat is how long a stream may say nothing: proxies give up after 30 s or 60 s, and
	// a client that is gone is noticed.
	heartbeat = 15 * time.Second
	// streamWrite is how long one write may take.
	streamWrite = 10 * time.Second
	// streamBuffer bounds what the kernel holds for one client.
	streamBuffer = 256 << 10
	// streamRetry is when a client may ask again that was refused, in seconds.
	streamRetry = "10"
)

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// frame makes an event of a stream of data, which has no line end.
func frame(event string, data []byte) []byte {
	b := make([]byte, 0, len(event)+len(data)+16)
	b = append(append(b, "event: "...), event...)
	b = append(append(b, "\ndata: "...), data...)
	return append(b, "\n\n"...)
}

// parameters are those of a request, by name.
type parameters map[string][]string

func (p parameters) names() (names []string) {
	for name := range p {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (p parameters) get(name string) []string { return p[name] }

// one returns a parameter's value, or def if it is empty.
func (p parameters) one(name, def string) string {
	if v := p[name]; len(v) > 0 && v[0] != "" {
		return v[0]
	}
	return def
}

// key returns the parameters in one form, so that queries that mean the same have the same
// key; most of them, as more is not needed.
func (p parameters) key() string {
	out := make(url.Values)
	for name, values := range p {
		list := slices.Clone(values)
		switch name[strings.LastIndexByte(name, '.')+1:] {
		case "by", "without":
			list = strings.Split(strings.Join(values, ","), ",")
			list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
		case "from", "to":
			list[0] = strings.TrimPrefix(list[0], "now-")
			if list[0] != values[0] {
				list[0] = "-" + list[0]
			}
		}
		slices.Sort(list)
		if list = slices.Compact(list); len(list) == 0 {
			list = []string{""} // an operand's own empty list comes before the shared one
		}
		def, shared := map[string]string{"from": "-1h", "to": "now", "step": "auto", "limit": "100"}[name], !strings.Contains(name, ".")
		if shared && len(list) == 1 && (list[0] == "" || list[0] == def) {
			continue
		}
		out[name] = list
	}
	return out.Encode()
}

// moves reports whether the range moves with the clock.
func (p parameters) moves() bool {
	relative := func(text string) bool { return strings.HasPrefix(text, "now") || strings.HasPrefix(text, "-") }
	return relative(p.one("from", "-1h")) || relative(p.one("to", "now"))
}

// stream answers with a query's answer, and then once a second with what changed.
func (s *Server) stream(ctx *fasthttp.RequestCtx) {
	p := make(parameters)
	names, get := params(ctx.QueryArgs())
	for _, name := range names {
		p[name] = get(name)
	}
	if _, err := query.ParseRequest(names, get, s.o.Clock.Now()); err != nil {
		s.failQuery(ctx, err)
		return
	}
	ctx.SetContentType("text/event-stream")
	if ctx.IsHead() {
		return
	}
	h := &ctx.Response.Header
	h.Set("X-Accel-Buffering", "no") // nginx passes each message on at once
	h.SetContentLength(-2)           // the connection's end is the stream's
	head := slices.Clone(h.Header())
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { s.serveStream(c, head, p) })
}

// serveStream owns the connection until it returns.
func (s *Server) serveStream(c net.Conn, head []byte, p parameters) {
	defer func() {
		if r := recover(); r != nil {
			s.o.Log.Error("BUG: a stream panicked", "query", p.key(), "panic", fmt.Sprint(r))
		}
	}()
	conn := unwrapped(c)                                   // fasthttp uses c again
	abort := func() { _ = conn.SetWriteDeadline(longAgo) } // it may be closed already
	write := func(b []byte) bool {
		slow := time.AfterFunc(streamWrite, abort)
		defer slow.Stop()
		_, err := conn.Write(b)
		return err == nil
	}
	v, err := s.hub.join(p, abort)
	if err != nil {
		write(refusal(err))
		return
	}
	defer s.hub.leave(v)
	if b, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = b.SetWriteBuffer(streamBuffer) // or the kernel's default
	}
	if !write(head) {
		return
	}
	beat := time.NewTimer(heartbeat)
	defer beat.Stop()
	for {
		b := []byte(":\n\n")
		select {
		case m, ok := <-v.queue:
			if !ok {
				return
			}
			b = m()
		case <-beat.C:
		}
		if raw := rawConn(conn); raw != nil && hungUp(raw) || !write(b) {
			return
		}
		beat.Reset(heartbeat)
	}
}

// refusal is the whole answer to a client for which there is no room.
func refusal(err error) []byte {
	var r fasthttp.Response
	r.SetStatusCode(fasthttp.StatusServiceUnavailable)
	r.Header.Set("Retry-After", streamRetry)
	r.Header.Set("Cache-Control", "no-store")
	r.Header.SetConnectionClose()
	r.Header.SetContentType("application/json")
	r.SetBody(append(appendString([]byte(`{"error":`), err.Error()), "}\n"...))
	return []byte(r.String())
}

// evaluate answers a stream's query of now. Streams take half of the gate at most.
func (s *Server) evaluate(ctx context.Context, key string, p parameters, viewers int) (res *query.Result, err error) {
	select {
	case s.gate.streams <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.gate.streams }()
	r, err := query.ParseRequest(p.names(), p.get, s.o.Clock.Now())
	if err != nil {
		return nil, err
	}
	err = s.admit(ctx, key, fmt.Sprintf("stream, viewers: %d", viewers), func(limit context.Context) (err error) {
		res, err = s.o.Executor.Run(limit, r)
		return err
	})
	return res, err
}

// tell is what viewers get to know of an error.
func (s *Server) tell(err error) []byte {
	if errors.Is(err, context.Canceled) {
		return []byte(`{"error":"the evaluation was canceled"}`)
	}
	_, sentence, param := s.blame(err)
	b := appendString([]byte(`{"error":`), sentence)
	if param != "" {
		b = appendString(append(b, `,"param":`...), param)
	}
	return append(b, '}')
}
