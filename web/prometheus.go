package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"cairn/query"
	"cairn/query/promql"
)

// Prometheus' HTTP API, as docs/promql.md lists it. Its answers have a shape of their own:
//
//	{"status":"success","data":...,"warnings":[...],"infos":[...]}
//	{"status":"error","errorType":"bad_data","error":"..."}
//
// What Grafana falls back to depends on codes: a POST that is answered 405 or 400 is asked again as
// GET, and a 429 is never JSON.

// promRoute is one row of the table, by what is behind /api/v1.
type promRoute struct {
	post  bool // besides GET
	serve func(*promRequest) error
}

func (s *Server) promTable() map[string]promRoute {
	return map[string]promRoute{
		"/query":              {true, s.promQuery},
		"/query_range":        {true, s.promQueryRange},
		"/series":             {true, s.promSeries},
		"/labels":             {true, s.promLabels},
		"/metadata":           {false, s.promMetadata},
		"/query_exemplars":    {true, s.promExemplars},
		"/format_query":       {true, s.promFormat},
		"/parse_query":        {true, s.promParse},
		"/rules":              {false, func(r *promRequest) error { return r.raw(`{"groups":[]}`) }},
		"/alerts":             {false, func(r *promRequest) error { return r.raw(`{"alerts":[]}`) }},
		"/status/buildinfo":   {false, s.promBuild},
		"/status/runtimeinfo": {false, s.promRuntime},
		"/status/flags":       {false, func(r *promRequest) error { return r.raw(`{}`) }},
		"/status/config":      {false, func(r *promRequest) error { return r.raw(`{"yaml":""}`) }},
		"/status/tsdb":        {false, s.promTSDB},
		"/targets":            {false, func(r *promRequest) error { return r.raw(`{"activeTargets":[],"droppedTargets":[]}`) }},
		"/alertmanagers":      {false, func(r *promRequest) error { return r.raw(`{"activeAlertmanagers":[],"droppedAlertmanagers":[]}`) }},
	}
}

// promPath returns what is behind /api/v1 in a path, with or without /prometheus before it.
func promPath(path string) (rest string, ok bool) {
	path = strings.TrimPrefix(path, "/prometheus")
	return strings.CutPrefix(path, "/api/v1")
}

// prometheus answers a request if its path is one of Prometheus' API.
func (s *Server) prometheus(ctx *fasthttp.RequestCtx, path string) bool {
	rest, ok := promPath(path)
	if !ok || s.prom == nil || rest != "" && rest[0] != '/' {
		return s.promPlain(ctx, path)
	}
	r := &promRequest{s: s, ctx: ctx, path: rest}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	route, ok := s.promRoutes[rest]
	if !ok {
		if name, found := strings.CutPrefix(rest, "/label/"); found && strings.HasSuffix(name, "/values") {
			name = strings.TrimSuffix(name, "/values")
			route, ok = promRoute{false, func(r *promRequest) error { return s.promValues(r, name) }}, true
		}
	}
	switch method := string(ctx.Method()); {
	case !ok:
		r.fail(fasthttp.StatusNotFound, "not_found", fmt.Sprintf("there is no %s here; docs/promql.md lists what there is of Prometheus' API", path))
	case method == fasthttp.MethodGet || ctx.IsHead():
		r.answer(route)
	case method == fasthttp.MethodPost && route.post:
		r.answer(route)
	default:
		allowed := fasthttp.MethodGet
		if route.post {
			allowed += ", " + fasthttp.MethodPost
		}
		ctx.Response.Header.Set("Allow", allowed)
		r.fail(fasthttp.StatusMethodNotAllowed, "bad_data", fmt.Sprintf("%s takes %s only", path, allowed))
	}
	return true
}

// promPlain answers what some tools ask Prometheus besides its API.
func (s *Server) promPlain(ctx *fasthttp.RequestCtx, path string) bool {
	rest, ok := strings.CutPrefix(path, "/prometheus")
	if r, known := s.routes[rest]; ok && known && strings.HasPrefix(rest, "/-/") {
		if s.allow(ctx, r.method) {
			r.serve(ctx)
		}
		return true
	}
	return false
}

// promRequest is one request, and what its answer has besides the data.
type promRequest struct {
	s               *Server
	ctx             *fasthttp.RequestCtx
	path            string
	form            fasthttp.Args // of a POST
	warnings, infos []string
}

func (r *promRequest) answer(route promRoute) {
	if r.ctx.IsPost() {
		b, ok := smallBody(r.ctx)
		if !ok { // it has answered
			r.fail(r.ctx.Response.StatusCode(), "bad_data", fmt.Sprintf("the body is larger than %d bytes, or broke off", bodyBytes))
			return
		}
		if kind := string(r.ctx.Request.Header.ContentType()); !strings.HasPrefix(kind, "application/x-www-form-urlencoded") && len(b) > 0 {
			r.fail(fasthttp.StatusBadRequest, "bad_data", fmt.Sprintf("the body is %q; it must be application/x-www-form-urlencoded", kind))
			return
		}
		r.form.ParseBytes(b)
	}
	if err := route.serve(r); err != nil {
		r.refuse(err)
	}
}

// get returns a parameter; the body's goes before the address's.
func (r *promRequest) get(name string) string {
	if v := r.form.Peek(name); v != nil {
		return string(v)
	}
	return string(r.ctx.QueryArgs().Peek(name))
}

func (r *promRequest) all(name string) (values []string) {
	for _, args := range []*fasthttp.Args{&r.form, r.ctx.QueryArgs()} {
		for _, v := range args.PeekMulti(name) {
			values = append(values, string(v))
		}
	}
	return values
}

// text is the request as it is listed among running queries.
func (r *promRequest) text() string {
	args := r.ctx.QueryArgs()
	if r.form.Len() > 0 {
		args = &r.form
	}
	return "/api/v1" + r.path + "?" + string(args.AppendBytes(nil))
}

// begin begins an answer of which the data follows.
func (r *promRequest) begin() []byte { return append([]byte(nil), `{"status":"success","data":`...) }

// end sends an answer whose data is complete.
func (r *promRequest) end(b []byte) error {
	for _, list := range []struct {
		name  string
		texts []string
	}{{"warnings", r.warnings}, {"infos", r.infos}} {
		if len(list.texts) == 0 {
			continue
		}
		b = append(b, `,"`+list.name+`":[`...)
		for i, t := range list.texts {
			if i > 0 {
				b = append(b, ',')
			}
			b = promql.AppendString(b, t)
		}
		b = append(b, ']')
	}
	b = append(b, '}')
	r.ctx.SetContentType("application/json")
	if len(b) < largeAnswer {
		r.ctx.Response.SetBodyRaw(b)
		return nil
	}
	body, err := r.s.gate.unread.take(b)
	if err != nil {
		return err
	}
	r.ctx.Response.SetBodyStream(body, len(b))
	return nil
}

func (r *promRequest) raw(data string) error { return r.end(append(r.begin(), data...)) }

func (r *promRequest) fail(code int, kind, sentence string) {
	b := append([]byte(nil), `{"status":"error","errorType":"`+kind+`","error":`...)
	b = promql.AppendString(b, sentence)
	r.ctx.SetStatusCode(code)
	r.ctx.SetContentType("application/json")
	r.ctx.Response.SetBodyRaw(append(b, '}'))
}

// refuse answers with what went wrong.
func (r *promRequest) refuse(err error) {
	var bad *promql.BadQuery
	var limit *query.LimitError
	var exec *promql.ExecutionError
	var timeout *promql.TimeoutError
	var canceled *promql.CanceledError
	var busy *busyError
	switch {
	case errors.As(err, &busy): // which is a limit, too
		r.fail(fasthttp.StatusServiceUnavailable, "unavailable", busy.sentence)
	case errors.As(err, &bad):
		r.fail(fasthttp.StatusBadRequest, "bad_data", bad.Sentence)
	case errors.As(err, &timeout): // which is a limit, too
		r.fail(fasthttp.StatusUnprocessableEntity, "timeout", timeout.Sentence)
	case errors.As(err, &limit):
		r.fail(fasthttp.StatusUnprocessableEntity, "execution", limit.Sentence)
	case errors.As(err, &exec):
		r.fail(fasthttp.StatusUnprocessableEntity, "execution", exec.Sentence)
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		r.ctx.SetConnectionClose()
		r.fail(statusHungUp, "canceled", "the query was canceled: its client hung up, or the server stops")
	default:
		r.s.o.Log.Error("query failed", "error", err)
		r.fail(fasthttp.StatusServiceUnavailable, "internal", "the query failed; the server's log says why, and counting goes on")
	}
}

// badParam says that a parameter cannot be read.
func badParam(name, format string, args ...any) error {
	return &promql.BadQuery{Sentence: fmt.Sprintf("invalid parameter %q: %s", name, fmt.Sprintf(format, args...))}
}

// time reads Unix seconds or RFC 3339.
func (r *promRequest) time(name string, def time.Time) (time.Time, error) {
	text := r.get(name)
	if text == "" {
		if def.IsZero() {
			return def, badParam(name, "cannot parse %q to a valid timestamp", text)
		}
		return def, nil
	}
	if sec, err := strconv.ParseFloat(text, 64); err == nil {
		if ms := math.Round(sec * 1000); math.Abs(ms) < 1<<52 {
			return time.UnixMilli(int64(ms)), nil
		}
		return def, badParam(name, "%q is too far away", text)
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return def, badParam(name, "cannot parse %q to a valid timestamp", text)
	}
	return t, nil
}

// duration reads seconds, or what PromQL writes; 0: there is none.
func (r *promRequest) duration(name string) (time.Duration, error) {
	text := r.get(name)
	if text == "" {
		return 0, nil
	}
	if sec, err := strconv.ParseFloat(text, 64); err == nil {
		if ns := sec * 1e9; math.Abs(ns) < math.MaxInt64 {
			return time.Duration(ns), nil
		}
		return 0, badParam(name, "cannot parse %q to a valid duration. It overflows int64", text)
	}
	d, err := promql.ParseDuration(text)
	if err != nil {
		return 0, badParam(name, "cannot parse %q to a valid duration", text)
	}
	return d, nil
}

func (r *promRequest) limit() (int, error) {
	text := r.get("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, badParam("limit", "%q is no whole number from 0 to 2147483647", text)
	}
	return int(n), nil
}
