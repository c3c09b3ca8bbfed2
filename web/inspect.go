package web

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/metric"
	"cairn/query"
)

// Hot is what GET /api/hot tells: the series with the most events in the complete
// seconds [From, To), of which there is at least one.
type Hot struct {
	From, To metric.UnixSec
	Events   uint64 // of all series
	Series   []agg.Hot
}

// Limits on what these routes answer.
const (
	maxHot        = 1_000
	defaultHot    = 20
	maxEvents     = 10_000 // all that are kept
	defaultEvents = 1_000
)

// tagsOf is a tagset as JSON: a key with several values has a list.
func tagsOf(ts metric.Tagset) map[string]any {
	out := make(map[string]any)
	for t := range ts.All() {
		switch have := out[t.Key].(type) {
		case nil:
			out[t.Key] = t.Value
		case string:
			out[t.Key] = []string{have, t.Value}
		case []string:
			out[t.Key] = append(have, t.Value)
		}
	}
	return out
}

// number reads a whole number from 1 to most.
func number(ctx *fasthttp.RequestCtx, param string, def, most int) (int, bool) {
	text := string(ctx.QueryArgs().Peek(param))
	if text == "" {
		return def, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		fail(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("%s %q is not a whole number from 1 to %d", param, text, most), param)
		return 0, false
	}
	return n, true
}

func (s *Server) hot(ctx *fasthttp.RequestCtx) {
	n, ok := number(ctx, "limit", defaultHot, maxHot)
	if !ok {
		return
	}
	h := s.o.Hot(n)
	type row struct {
		Metric string         `json:"metric"`
		Kind   string         `json:"kind"`
		Tags   map[string]any `json:"tags"`
		Events uint64         `json:"events"`
		Rate   float64        `json:"rate"`  // events a second
		Share  float64        `json:"share"` // of all events, 0 to 1
	}
	span := float64(h.To - h.From)
	body := struct {
		From   int64   `json:"from"`
		To     int64   `json:"to"`
		Events uint64  `json:"events"`
		Rate   float64 `json:"rate"`
		Series []row   `json:"series"`
	}{int64(h.From), int64(h.To), h.Events, float64(h.Events) / span, make([]row, 0, len(h.Series))}
	for _, x := range h.Series {
		body.Series = append(body.Series, row{
			x.Series.Name, x.Series.Kind.String(), tagsOf(x.Series.Tags), x.Events, float64(x.Events) / span, float64(x.Events) / float64(h.Events),
		})
	}
	writeJSON(ctx, body)
}

func (s *Server) rejects(ctx *fasthttp.RequestCtx) { writeJSON(ctx, s.o.Rejects()) }

// explain tells how each dialect reads the line in the body.
func (s *Server) explain(ctx *fasthttp.RequestCtx) {
	sent, ok := smallBody(ctx)
	if !ok {
		return
	}
	line := strings.TrimRight(string(sent), "\r\n")
	switch {
	case line == "":
		fail(ctx, fasthttp.StatusBadRequest, "the body is empty; send one line, such as signups:1|c|#env:prod", "")
	case strings.Contains(line, "\n"):
		fail(ctx, fasthttp.StatusBadRequest, "the body has several lines; send one", "")
	default:
		writeJSON(ctx, struct {
			Line     string               `json:"line"`
			Dialects []ingest.Explanation `json:"dialects"`
		}{line, s.o.Explain([]byte(line))})
	}
}

// events lists DogStatsD's events and service checks.
func (s *Server) events(ctx *fasthttp.RequestCtx) {
	now := metric.SecOf(s.o.Clock.Now()) + 1
	bound := func(param, def string) (metric.UnixSec, bool) {
		text := string(ctx.QueryArgs().Peek(param))
		if text == "" {
			text = def
		}
		t, err := query.ParseTime(text, now)
		if err != nil {
			fail(ctx, fasthttp.StatusBadRequest, err.Error(), param)
		}
		return t, err == nil
	}
	from, ok := bound("from", "-1h")
	if !ok {
		return
	}
	to, ok := bound("to", "now")
	if !ok {
		return
	}
	if from >= to {
		fail(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("from (%d) is not before to (%d)", from, to), "from")
		return
	}
	n, ok := number(ctx, "limit", defaultEvents, maxEvents)
	if !ok {
		return
	}
	type row struct {
		Time     int64          `json:"time"`
		Type     string         `json:"type"` // event or service_check
		Title    string         `json:"title"`
		Text     string         `json:"text,omitempty"`
		Status   string         `json:"status,omitempty"`
		Priority string         `json:"priority,omitempty"`
		Host     string         `json:"host,omitempty"`
		Key      string         `json:"key,omitempty"`
		Source   string         `json:"source,omitempty"`
		Tags     map[string]any `json:"tags"`
	}
	body := struct {
		Events []row `json:"events"`
	}{make([]row, 0)}
	for _, e := range s.o.Events(from, to, n) {
		kind := "event"
		if e.Check {
			kind = "service_check"
		}
		body.Events = append(body.Events, row{int64(e.Time), kind, e.Title, e.Text, e.Status, e.Priority, e.Host, e.Key, e.Source, tagsOf(e.Tags)})
	}
	writeJSON(ctx, body)
}
