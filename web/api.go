package web

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/valyala/fasthttp"

	"cairn/query"
)

// Status describes the running server, for GET /api/status.
type Status struct {
	Version string   `json:"version"`
	Started int64    `json:"started"` // Unix seconds
	Now     int64    `json:"now"`     // Unix seconds
	UDP     []string `json:"udp"`     // addresses
	UDS     []string `json:"uds"`     // paths
	TCP     []string `json:"tcp"`     // addresses
	HTTP    string   `json:"http"`
	Grace   int64    `json:"grace"`       // seconds
	Uptime  int64    `json:"uptime"`      // seconds
	Stages  []Stage  `json:"stages"`      // in the order in which events pass them
	Backup  *Backup  `json:"last_backup"` // nil: none was made since the start
}

// Stage tells in words how a part of the server does.
type Stage struct {
	Name     string `json:"stage"`
	State    string `json:"state"` // one of those below
	Sentence string `json:"sentence"`
}

// States of a stage.
const (
	StateOK      = "ok"
	StateWarning = "warning" // nothing is lost now, but somebody should know
	StateFailing = "failing" // it does not do its work
)

// Backup is the last one that was asked for.
type Backup struct {
	Time   int64  `json:"time"` // when it ended, Unix seconds
	Dir    string `json:"dir"`
	OK     bool   `json:"ok"`
	Result string `json:"result"` // a sentence
	Bytes  int64  `json:"bytes"`
	TookMS int64  `json:"took_ms"`
}

// Setting is a setting in force, for GET /api/config.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	From    string `json:"from"`  // default, file, environment or flag
	Where   string `json:"where"` // the file, the variable or the flag
	About   string `json:"about"`
}

// fail answers with an error: a sentence, and the parameter that it is about.
func fail(ctx *fasthttp.RequestCtx, code int, sentence, param string) {
	body := struct {
		Error string `json:"error"`
		Param string `json:"param,omitempty"`
	}{sentence, param}
	ctx.SetStatusCode(code)
	writeJSON(ctx, body)
}

func writeJSON(ctx *fasthttp.RequestCtx, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: an answer that is not JSON: %v", err))
	}
	ctx.SetContentType("application/json")
	ctx.SetBody(append(b, '\n'))
}

// params returns the names of parameters, and what gives the values of one.
func params(args *fasthttp.Args) (names []string, get func(name string) []string) {
	for k := range args.All() {
		names = append(names, string(k))
	}
	return names, func(name string) (values []string) {
		for _, v := range args.PeekMulti(name) {
			values = append(values, string(v))
		}
		return values
	}
}

func (s *Server) query(ctx *fasthttp.RequestCtx) {
	names, get := params(ctx.QueryArgs())
	r, err := query.ParseRequest(names, get, s.o.Clock.Now())
	if err != nil {
		s.failQuery(ctx, err)
		return
	}
	err = s.turn(ctx, textOf(ctx.QueryArgs()), func(limit context.Context) error {
		res, err := s.o.Executor.Run(limit, r)
		if err == nil {
			ctx.SetContentType("application/json")
			ctx.Response.SetBodyRaw(appendResult(nil, res))
		}
		return err
	})
	if err != nil {
		s.failQuery(ctx, err)
	}
}

func (s *Server) tags(ctx *fasthttp.RequestCtx) {
	name := string(ctx.QueryArgs().Peek("metric"))
	if name == "" {
		fail(ctx, fasthttp.StatusBadRequest, "the parameter metric is missing; GET /api/metrics lists the names", "metric")
		return
	}
	kind, err := query.ParseKind(string(ctx.QueryArgs().Peek("kind")))
	if err != nil {
		s.failQuery(ctx, err)
		return
	}
	keys, err := s.o.Executor.Tags(name, kind)
	if err != nil {
		s.failQuery(ctx, err)
		return
	}
	type value struct {
		Value  string `json:"value"`
		Series int    `json:"series"`
	}
	type tag struct {
		Key    string  `json:"key"`
		Values []value `json:"values"`
	}
	body := struct {
		Tags []tag `json:"tags"`
	}{make([]tag, 0, len(keys))}
	for _, k := range keys {
		t := tag{Key: k.Key}
		for _, v := range k.Values {
			t.Values = append(t.Values, value{v.Value, v.Series})
		}
		body.Tags = append(body.Tags, t)
	}
	writeJSON(ctx, body)
}

func (s *Server) status(ctx *fasthttp.RequestCtx) { writeJSON(ctx, s.o.Status()) }

func (s *Server) config(ctx *fasthttp.RequestCtx) {
	writeJSON(ctx, struct {
		Settings []Setting `json:"settings"`
	}{s.o.Config()})
}

func (s *Server) selfMetrics(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
	ctx.SetBody(s.o.Metrics(nil))
}

func (s *Server) healthy(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBodyString("cairn is running\n")
}

func (s *Server) readiness(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain; charset=utf-8")
	if !s.ready.Load() {
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		ctx.SetBodyString("cairn is starting or stopping\n")
		return
	}
	ctx.SetBodyString("cairn is ready\n")
}
