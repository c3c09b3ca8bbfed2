package web

import (
	"time"

	"github.com/valyala/fasthttp"

	"cairn/query"
)

// queries tells which queries run or wait, and which were the slowest of the last hour.
func (s *Server) queries(ctx *fasthttp.RequestCtx) {
	type row struct {
		ID      uint64  `json:"id"`
		Query   string  `json:"query"` // its parameters, at most some 500 bytes
		Client  string  `json:"client"`
		Started float64 `json:"started"` // Unix seconds
		Seconds float64 `json:"seconds"` // that it took, or until now
		Waiting bool    `json:"waiting"` // for its turn; of an ended one: it never had it
		Error   string  `json:"error,omitempty"`
	}
	of := func(a *query.Active, err string) row {
		return row{a.ID, a.Text, a.Client, float64(a.Started.UnixMilli()) / 1000, a.Took.Round(time.Microsecond).Seconds(), a.Waiting, err}
	}
	body := struct {
		Active  []row `json:"active"`
		Slowest []row `json:"slowest"`
	}{[]row{}, []row{}}
	active, slowest := s.activity.Report()
	for i := range active {
		body.Active = append(body.Active, of(&active[i], ""))
	}
	for i := range slowest {
		body.Slowest = append(body.Slowest, of(&slowest[i].Active, slowest[i].Err))
	}
	writeJSON(ctx, body)
}
