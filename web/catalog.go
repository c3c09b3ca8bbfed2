package web

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"cairn/ingest"
	"cairn/internal/metric"
	"cairn/query"
)

// Catalog is what is known of metrics beside their series.
type Catalog struct {
	// Described returns what people have written about metrics, and Describe keeps it; the
	// zero Described: nothing is written.
	Described func() map[metric.ID]Described
	Describe  func(metric.ID, Described) *ingest.Refusal
	// Bytes returns what metrics take in the store, of the largest; nil: nobody has counted yet.
	Bytes func() map[metric.ID]uint64
	// Cardinality counts a metric's stored series, and by tag key.
	Cardinality func(metric.ID) (series int, keys []KeyCardinality)
}

// Described is what somebody has written about a metric.
type Described struct{ Description, Unit string }

// KeyCardinality is how many stored series have a tag key, and how many values it has.
type KeyCardinality struct {
	Key    string `json:"key"`
	Values int    `json:"values"`
	Series int    `json:"series"`
}

func (s *Server) metrics(ctx *fasthttp.RequestCtx) {
	all, err := s.o.Executor.Metrics()
	if err != nil {
		s.failQuery(ctx, err)
		return
	}
	type row struct {
		Metric      string  `json:"metric"`
		Kind        string  `json:"kind"`
		Series      int     `json:"series"`
		LastSeen    int64   `json:"last_seen"`
		Conflict    bool    `json:"conflict"` // another kind has the same name
		Overflow    bool    `json:"overflow"` // a cardinality limit folded tagsets
		Description string  `json:"description"`
		Unit        string  `json:"unit"`
		Bytes       *uint64 `json:"bytes"` // in the store; nil: not counted yet, or not one of the largest
	}
	body := struct {
		Metrics []row `json:"metrics"`
	}{make([]row, 0, len(all))}
	var described map[metric.ID]Described
	var bytes map[metric.ID]uint64
	if c := s.o.Catalog; c != nil {
		described, bytes = c.Described(), c.Bytes()
	}
	for i, m := range all { // by name
		conflict := i > 0 && all[i-1].ID.Name == m.ID.Name || i+1 < len(all) && all[i+1].ID.Name == m.ID.Name
		d := described[m.ID]
		r := row{m.ID.Name, m.ID.Kind.String(), m.Series, int64(m.LastSeen), conflict, m.Overflow, d.Description, d.Unit, nil}
		if n, ok := bytes[m.ID]; ok {
			r.Bytes = &n
		}
		body.Metrics = append(body.Metrics, r)
	}
	writeJSON(ctx, body)
}

// named returns the metrics that the parameters metric and kind name.
func (s *Server) named(ctx *fasthttp.RequestCtx) (list []query.MetricInfo, ok bool) {
	name := string(ctx.QueryArgs().Peek("metric"))
	if name == "" {
		fail(ctx, fasthttp.StatusBadRequest, "the parameter metric is missing; GET /api/metrics lists the names", "metric")
		return nil, false
	}
	kind, err := query.ParseKind(string(ctx.QueryArgs().Peek("kind")))
	if err != nil {
		s.failQuery(ctx, err)
		return nil, false
	}
	all, err := s.o.Executor.Metrics()
	if err != nil {
		s.failQuery(ctx, err)
		return nil, false
	}
	for _, m := range all {
		if m.ID.Name == name && (kind == 0 || m.ID.Kind == kind) {
			list = append(list, m)
		}
	}
	return list, true
}

// cardinality tells which tags make the series of a metric, the key with the most values first.
func (s *Server) cardinality(ctx *fasthttp.RequestCtx) {
	list, ok := s.named(ctx)
	if !ok {
		return
	}
	type row struct {
		Metric   string           `json:"metric"`
		Kind     string           `json:"kind"`
		Series   int              `json:"series"`
		Stored   int              `json:"stored_series"` // of which Tags are counted: new ones come with the next flush
		Overflow bool             `json:"overflow"`
		Tags     []KeyCardinality `json:"tags"`
	}
	body := struct {
		Metrics []row `json:"metrics"`
	}{make([]row, 0, len(list))}
	for _, m := range list {
		r := row{Metric: m.ID.Name, Kind: m.ID.Kind.String(), Series: m.Series, Overflow: m.Overflow}
		r.Stored, r.Tags = s.o.Catalog.Cardinality(m.ID)
		r.Tags = append([]KeyCardinality{}, r.Tags...)
		slices.SortFunc(r.Tags, func(a, b KeyCardinality) int {
			return cmp.Or(cmp.Compare(b.Values, a.Values), cmp.Compare(b.Series, a.Series), strings.Compare(a.Key, b.Key))
		})
		body.Metrics = append(body.Metrics, r)
	}
	writeJSON(ctx, body)
}

// Bounds on what is written about a metric, in bytes. The store has the same.
const (
	maxDescription = 1_000
	maxUnit        = 32
)

// describe keeps a metric's description and unit, both of them as they are sent.
func (s *Server) describe(ctx *fasthttp.RequestCtx) {
	if !mayChange(ctx) {
		return
	}
	b, ok := smallBody(ctx)
	if !ok {
		return
	}
	var q struct {
		Description *string `json:"description"`
		Unit        *string `json:"unit"`
	}
	if err := onlyJSON(b, &q); err != nil || q.Description == nil || q.Unit == nil || !utf8.Valid(b) {
		fail(ctx, fasthttp.StatusBadRequest, `the body is not what this takes, which is {"description":"people who signed up","unit":"people"}; an empty text takes one away`, "")
		return
	}
	for _, f := range []struct {
		name, text string
		most       int
	}{{"description", *q.Description, maxDescription}, {"unit", *q.Unit, maxUnit}} {
		if len(f.text) > f.most {
			fail(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("%s has %d bytes; at most %d are allowed", f.name, len(f.text), f.most), f.name)
			return
		}
		if strings.ContainsFunc(f.text, unicode.IsControl) {
			fail(ctx, fasthttp.StatusBadRequest, f.name+" has a control character; it is one line of text", f.name)
			return
		}
	}
	list, ok := s.named(ctx)
	switch {
	case !ok:
		return
	case len(list) == 0:
		fail(ctx, fasthttp.StatusNotFound, "there is no such metric; GET /api/metrics lists those that there are", "metric")
		return
	case len(list) > 1:
		fail(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("%d kinds have this name; say which one with kind=", len(list)), "kind")
		return
	}
	if refusal := s.o.Catalog.Describe(list[0].ID, Described{*q.Description, *q.Unit}); refusal != nil {
		failRefusal(ctx, refusal)
		return
	}
	writeJSON(ctx, struct {
		Metric      string `json:"metric"`
		Kind        string `json:"kind"`
		Description string `json:"description"`
		Unit        string `json:"unit"`
	}{list[0].ID.Name, list[0].ID.Kind.String(), *q.Description, *q.Unit})
}
