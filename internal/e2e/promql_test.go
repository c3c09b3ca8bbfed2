package e2e

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// promql returns the query that a fact is the answer to; "": PromQL has no such question.
func (f *fact) promql() string {
	over := func(fn, suffix string) string { return fmt.Sprintf(`%s({"%s%s"}[1h])`, fn, f.metric, suffix) }
	switch f.kind + " " + f.fn {
	case "counter count":
		return "sum(" + over("increase", "") + ")"
	case "distribution count":
		return "sum(" + over("increase", "_count") + ")"
	case "distribution sum":
		return "sum(" + over("sum_over_time", "_sum") + ")"
	case "distribution p50", "distribution p99":
		return fmt.Sprintf("histogram_quantile(0.%s, sum by (le) (%s))", f.fn[1:], over("rate", "_bucket"))
	case "set uniques":
		return "sum(" + over("increase", "") + ")"
	}
	if f.kind == "gauge" {
		return over(f.fn+"_over_time", "")
	}
	return ""
}

// Instant asks for the one value of an expression.
func (s *server) Instant(text string) float64 {
	s.t.Helper()
	var body struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
		Warnings []string `json:"warnings"`
	}
	s.getJSON("/api/v1/query", url.Values{"query": {text}}, &body)
	require.Empty(s.t, body.Warnings, text)
	if len(body.Data.Result) != 1 {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(body.Data.Result[0].Value[1].(string), 64)
	require.NoError(s.t, err)
	return v
}

// TestPromQLTellsTheSame: what was sent is what PromQL says, in memory, from the store and after a
// restart.
func TestPromQLTellsTheSame(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--udp", "127.0.0.1:0")
	payloads, events, _, facts := everyKind(time.Now().Unix())
	transmit(t, s.DialTo("UDP", "dogstatsd"), random(t), payloads)
	s.AwaitReceived(events)
	asked := 0
	check := func(s *server) {
		for _, f := range facts {
			text := f.promql()
			if text == "" || f.filter != "" {
				continue
			}
			asked++
			within := max(f.within, 1e-12)
			if strings.HasPrefix(f.fn, "p") {
				within += 0.005 // ranks between two observations are told apart otherwise
			}
			// What came in this second is in no sample before it is over.
			eventually(t, seenLimit, func() (bool, string) {
				got := s.Instant(text)
				return math.Abs(got-f.want) <= within*math.Abs(f.want), fmt.Sprintf("%s is %g and not %g", text, got, f.want)
			})
		}
	}
	check(s)
	s.AwaitFlushed(func() {})
	check(s)
	s.MustStop()
	check(startServer(t, "--data-dir", s.Dir))
	require.Greater(t, asked, 60)
}
