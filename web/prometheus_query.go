package web

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"cairn/query/promql"
)

// promQuery answers an instant query.
func (s *Server) promQuery(r *promRequest) error {
	at, err := r.time("time", s.o.Clock.Now())
	if err != nil {
		return err
	}
	return r.run(promql.Query{Start: at, End: at})
}

// promQueryRange answers a range query.
func (s *Server) promQueryRange(r *promRequest) error {
	var q promql.Query
	var err error
	if q.Start, err = r.time("start", time.Time{}); err != nil {
		return err
	}
	if q.End, err = r.time("end", time.Time{}); err != nil {
		return err
	}
	if q.End.Before(q.Start) {
		return badParam("end", "end timestamp must not be before start time")
	}
	if r.get("step") == "" {
		return badParam("step", "cannot parse %q to a valid duration", "")
	}
	if q.Step, err = r.duration("step"); err != nil {
		return err
	}
	if q.Step < time.Millisecond {
		return badParam("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")
	}
	return r.run(q)
}

// run evaluates a query in its turn.
func (r *promRequest) run(q promql.Query) (err error) {
	if q.Text = r.get("query"); q.Text == "" {
		return badParam("query", "unknown position: parse error: no expression found in input")
	}
	if q.Limit, err = r.limit(); err != nil {
		return err
	}
	if q.Lookback, err = r.duration("lookback_delta"); err != nil {
		return err
	}
	timeout, err := r.duration("timeout")
	if err != nil {
		return err
	}
	return r.s.turn(r.ctx, r.text(), func(ctx context.Context) error {
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		res, err := r.s.prom.Run(ctx, q)
		if err != nil {
			return err
		}
		defer res.Close()
		r.warnings, r.infos = res.Warnings(), res.Infos()
		b, err := res.Append(append(r.begin(), '{'))
		if err != nil {
			return err
		}
		return r.end(append(b, '}'))
	})
}

// lookup reads what the requests for series and labels have in common.
func (r *promRequest) lookup() (q promql.Lookup, err error) {
	q.Match = r.all("match[]")
	start, err := r.time("start", time.Unix(0, 0))
	if err != nil {
		return q, err
	}
	end, err := r.time("end", r.s.o.Clock.Now())
	if err != nil {
		return q, err
	}
	q.Start, q.End = float64(start.UnixMilli())/1000, float64(end.UnixMilli())/1000
	q.Limit, err = r.limit()
	return q, err
}

func (r *promRequest) cut(cut bool) {
	if cut {
		r.warnings = append(r.warnings, "results truncated due to limit")
	}
}

func (s *Server) promSeries(r *promRequest) error {
	q, err := r.lookup()
	if err != nil {
		return err
	}
	if len(q.Match) == 0 {
		return &promql.BadQuery{Sentence: "no match[] parameter provided"}
	}
	return s.turn(r.ctx, r.text(), func(ctx context.Context) error {
		all, cut, err := s.prom.Series(ctx, q)
		if err != nil {
			return err
		}
		r.cut(cut)
		return r.end(all.Append(r.begin()))
	})
}

func (s *Server) promLabels(r *promRequest) error {
	return r.texts(func(ctx context.Context, q promql.Lookup) ([]string, bool, error) { return s.prom.LabelNames(ctx, q) })
}

func (s *Server) promValues(r *promRequest, name string) error {
	return r.texts(func(ctx context.Context, q promql.Lookup) ([]string, bool, error) {
		return s.prom.LabelValues(ctx, name, q)
	})
}

// texts answers with a list of strings.
func (r *promRequest) texts(find func(context.Context, promql.Lookup) ([]string, bool, error)) error {
	q, err := r.lookup()
	if err != nil {
		return err
	}
	return r.s.turn(r.ctx, r.text(), func(ctx context.Context) error {
		all, cut, err := find(ctx, q)
		if err != nil {
			return err
		}
		r.cut(cut)
		b := append(r.begin(), '[')
		for i, v := range all {
			if i > 0 {
				b = append(b, ',')
			}
			b = promql.AppendString(b, v)
		}
		return r.end(append(b, ']'))
	})
}

func (s *Server) promMetadata(r *promRequest) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	return s.turn(r.ctx, r.text(), func(ctx context.Context) error {
		all, err := s.prom.Metadata(ctx, r.get("metric"), limit)
		if err != nil {
			return err
		}
		b := append(r.begin(), '{')
		for i, m := range all { // by name
			switch {
			case i > 0 && all[i-1].Name == m.Name:
				b = append(b[:len(b)-1], ',')
			case i > 0:
				b = append(b, ',')
				fallthrough
			default:
				b = append(promql.AppendString(b, m.Name), ':', '[')
			}
			b = promql.AppendString(append(b, `{"type":`...), m.Type)
			b = promql.AppendString(append(b, `,"help":`...), m.Help)
			b = append(b, `,"unit":""}]`...)
		}
		return r.end(append(b, '}'))
	})
}

// promExemplars knows of none: events are not kept one by one.
func (s *Server) promExemplars(r *promRequest) error {
	return s.turn(r.ctx, r.text(), func(context.Context) error {
		if _, err := s.prom.Format(r.get("query")); err != nil {
			return err
		}
		return r.raw(`[]`)
	})
}

// promFormat has its turn, as what only parses does: that takes up to 150 ms.
func (s *Server) promFormat(r *promRequest) error {
	return s.turn(r.ctx, r.text(), func(context.Context) error {
		text, err := s.prom.Format(r.get("query"))
		if err != nil {
			return err
		}
		return r.end(promql.AppendString(r.begin(), text))
	})
}

func (s *Server) promParse(r *promRequest) error {
	return s.turn(r.ctx, r.text(), func(context.Context) error {
		tree, err := s.prom.Tree(r.get("query"))
		if err != nil {
			return err
		}
		return r.json(tree)
	})
}

func (r *promRequest) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("BUG: an answer that is not JSON: %w", err)
	}
	return r.end(append(r.begin(), b...))
}

// promVersion is the version of Prometheus whose engine this is: tools go by it to know what
// a server can do.
const promVersion = "3.16.0"

// promBuild has no "features": with it, Grafana would take the server for Mimir.
func (s *Server) promBuild(r *promRequest) error {
	version := ""
	if s.o.Status != nil {
		version = s.o.Status().Version
	}
	return r.json(map[string]string{
		"version": promVersion, "revision": "cairn " + version, "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
	})
}

func (s *Server) promRuntime(r *promRequest) error {
	var started int64
	if s.o.Status != nil {
		started = s.o.Status().Started
	}
	return r.json(map[string]any{"startTime": time.Unix(started, 0).UTC().Format(time.RFC3339), "storageRetention": "", "reloadConfigSuccess": true})
}

// Sizes of the lists of status/tsdb.
const (
	defaultTSDB = 10
	maxTSDB     = 10_000
)

func (s *Server) promTSDB(r *promRequest) error {
	n, err := r.limit()
	switch {
	case err != nil:
		return err
	case n == 0:
		n = defaultTSDB
	}
	return s.turn(r.ctx, r.text(), func(ctx context.Context) error {
		st, err := s.prom.Statistics(ctx, min(n, maxTSDB))
		if err != nil {
			return err
		}
		type row struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		}
		rows := func(list []promql.Count) []row {
			out := make([]row, len(list))
			for i, c := range list {
				out[i] = row{c.Name, c.Value}
			}
			return out
		}
		return r.json(map[string]any{
			"headStats":               map[string]int{"numSeries": st.Series, "numLabelPairs": st.Labels, "chunkCount": 0, "minTime": 0, "maxTime": 0},
			"seriesCountByMetricName": rows(st.SeriesByName), "labelValueCountByLabelName": rows(st.ValuesByLabel),
			"memoryInBytesByLabelName": []row{}, "seriesCountByLabelValuePair": []row{},
		})
	})
}
