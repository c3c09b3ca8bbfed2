package web

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
)

// counters is a source of counters with an event of 1 in every second before a time.
type counters struct {
	names []string
	tags  []metric.Tagset
	until metric.UnixSec
	wait  func(context.Context) // in each scan; nil: none
}

func (c *counters) Select(_ context.Context, id metric.ID, match matcher.List) (query.Selection, error) {
	sel := &selectedCounters{c: c}
	if id.Kind == metric.Counter && slices.Contains(c.names, id.Name) {
		for _, ts := range c.tags {
			if match.Match(ts) {
				sel.tags = append(sel.tags, ts)
			}
		}
	}
	return sel, nil
}

func (c *counters) Part(metric.ID, int, int) query.Selection { return &selectedCounters{c: c} }

func (c *counters) Kinds(name string) []metric.Kind {
	if slices.Contains(c.names, name) {
		return []metric.Kind{metric.Counter}
	}
	return nil
}

func (c *counters) IDs() (ids []metric.ID) {
	for _, n := range c.names {
		ids = append(ids, metric.ID{Name: n, Kind: metric.Counter})
	}
	return ids
}

func (c *counters) TagCounts(_ metric.ID, visit func(metric.Tag, int)) {
	for _, ts := range c.tags {
		for t := range ts.All() {
			visit(t, 1)
		}
	}
}

func (c *counters) Metrics() (all []query.MetricInfo) {
	for _, id := range c.IDs() {
		all = append(all, query.MetricInfo{ID: id, Series: len(c.tags), LastSeen: c.until - 1})
	}
	return all
}

type selectedCounters struct {
	c    *counters
	tags []metric.Tagset
}

func (s *selectedCounters) Last() metric.UnixSec { return metric.Never }

func (s *selectedCounters) Tags() []metric.Tagset { return s.tags }

func (s *selectedCounters) Slice(i, j int) query.Selection {
	return &selectedCounters{s.c, s.tags[i:j]}
}

func (s *selectedCounters) Scan(ctx context.Context, t metric.Tier, from, to metric.UnixSec, yield query.Yield) error {
	if s.c.wait != nil {
		s.c.wait(ctx)
	}
	w := t.Width()
	for i := range s.tags {
		for sec := from; sec < min(to, s.c.until); sec += metric.UnixSec(w) {
			if err := yield(i, sec, w, []uint32{0}, []float64{float64(w)}); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (s *selectedCounters) ScanBuckets(context.Context, metric.Tier, metric.UnixSec, metric.UnixSec, query.YieldBucket) error {
	return nil
}

const promNow = 1_700_000_000

func tagsetOf(keyValues ...string) metric.Tagset {
	var tags []metric.Tag
	for i := 0; i < len(keyValues); i += 2 {
		tags = append(tags, metric.Tag{Key: keyValues[i], Value: keyValues[i+1]})
	}
	return metric.NewTagset(tags)
}

func startPrometheus(t *testing.T, limits query.Limits, wait func(context.Context)) *Server {
	c := &counters{
		names: []string{"api.requests", "other"}, until: promNow, wait: wait,
		tags: []metric.Tagset{tagsetOf("code", "200", "http.route", "/a\"b"), tagsetOf("code", "500", "canary", "")},
	}
	return startWith(t, Options{Status: func() Status { return Status{Version: "test", Started: promNow - 60} }, Executor: &query.Executor{
		Acquire: func() (*query.View, error) {
			return &query.View{OpenDone: func() {}, Store: c, SealedUntil: promNow - 10, Close: func() {}}, nil
		},
		Limits: limits,
	}})
}

func post(t *testing.T, s *Server, path, kind, body string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+s.Addr()+path, kind, strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

const formType = "application/x-www-form-urlencoded"

func TestPrometheusAPI(t *testing.T) {
	s := startPrometheus(t, query.Limits{}, nil)
	esc := url.QueryEscape
	for _, c := range []struct {
		target string
		code   int
		body   string
	}{
		{"/query?query=sum(api_requests)", 200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"120"]}]}}`},
		{"/query?query=sum(api_requests)&time=1699999940.5", 200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1699999940.500,"120"]}]}}`},
		{"/query?query=sum(api_requests)&time=2023-11-14T22:12:20Z&stats=all&timeout=5s", 200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1699999940,"120"]}]}}`},
		{"/query?query=nothing", 200, `{"status":"success","data":{"resultType":"vector","result":[]}}`},
		{"/query?query=1%2F0", 200, `{"status":"success","data":{"resultType":"scalar","result":[1700000000,"+Inf"]}}`},
		{"/query?query=-1%2F0", 200, `"-Inf"`},
		{"/query?query=0%2F0", 200, `"NaN"`},
		{"/query?query=1e-7", 200, `"1e-07"`},
		{"/query?query=%22a%5Cn%22", 200, `{"status":"success","data":{"resultType":"string","result":[1700000000,"a\n"]}}`},
		{"/query?query=api_requests&limit=1", 200, `"warnings":["results truncated due to limit"]`},
		{"/query?query=" + esc(`api_requests{code="200"}[2s]`), 200, `"resultType":"matrix","result":[{"metric":{"__name__":"api.requests","code":"200","http.route":"/a\"b"},"values":[[1699999999,"1"],[1700000000,"1"]]}]`},
		{"/query?query=" + esc(`{"api.requests", "http.route"!=""}`), 200, `"value":[1700000000,"60"]`},
		{"/query?query=" + esc(`api.requests{canary="true"}`), 200, `{"metric":{"__name__":"api.requests","canary":"true","code":"500"},"value":[1700000000,"60"]}`},
		{"/query_range?query=sum(rate(api_requests[1m]))&start=1699999900&end=1699999960&step=30", 200,
			`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1699999900,"2"],[1699999930,"2"],[1699999960,"2"]]}]}}`},
		{"/query_range?query=nothing&start=1699999900&end=1699999960&step=30s", 200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`},
		{"/series?match[]=api_requests&start=1699999900&end=1699999960", 200,
			`{"status":"success","data":[{"__name__":"api.requests","canary":"true","code":"500"},{"__name__":"api.requests","code":"200","http.route":"/a\"b"}]}`},
		{"/series?match[]=api_requests&limit=1", 200, `"warnings":["results truncated due to limit"]`},
		{"/series?match[]=api_requests&start=1700000100", 200, `"data":[]`},
		{"/series?match[]=" + esc(`{code="500"}`), 200, `[{"__name__":"api.requests","canary":"true","code":"500"},{"__name__":"other","canary":"true","code":"500"}]`},
		{"/labels", 200, `{"status":"success","data":["__name__","canary","code","http.route"]}`},
		{"/labels?match[]=" + esc(`{code="200"}`), 200, `["__name__","code","http.route"]`},
		{"/label/__name__/values", 200, `["api.requests","other"]`},
		{"/label/code/values?match[]=api_requests", 200, `["200","500"]`},
		{"/label/code/values?limit=1", 200, `["200"],"warnings"`},
		{"/label/canary/values", 200, `["true"]`},
		{"/label/U__http_2e_route/values", 200, `["/a\"b"]`},
		{"/label/none/values", 200, `"data":[]`},
		{"/metadata", 200, `"api.requests":[{"type":"counter",`},
		{"/metadata?metric=other&limit=5", 200, `{"status":"success","data":{"other":[{"type":"counter"`},
		{"/query_exemplars?query=api_requests", 200, `{"status":"success","data":[]}`},
		{"/rules", 200, `{"status":"success","data":{"groups":[]}}`},
		{"/alerts", 200, `"alerts":[]`},
		{"/status/buildinfo", 200, `"version":"3.16.0"`},
		{"/status/runtimeinfo", 200, `"startTime":"2023-11-14T22:12:20Z"`},
		{"/status/tsdb", 200, `"seriesCountByMetricName":[{"name":"api.requests","value":2},{"name":"other","value":2}]`},
		{"/format_query?query=sum(a)by(b)", 200, `{"status":"success","data":"sum by (b) (a)"}`},
		{"/parse_query?query=" + esc(`sum by (a) (rate(m{x="y"}[5m:1m] offset 1h)) / on (b) group_left (c) -n @ end() > bool 2`), 200, `"type":"aggregation"`},
		// What is wrong.
		{"/query", 400, `"errorType":"bad_data","error":"invalid parameter \"query\"`},
		{"/query?query=sum(", 400, `"status":"error","errorType":"bad_data"`},
		{"/query?query={}", 400, `at least one non-empty matcher`},
		{"/query?query=" + esc(`{x=~".*"}`), 400, `at least one non-empty matcher`},
		{"/query?query=m&time=yesterday", 400, `invalid parameter \"time\"`},
		{"/query?query=m&time=1e300", 400, `invalid parameter \"time\"`},
		{"/query?query=m&timeout=x", 400, `invalid parameter \"timeout\"`},
		{"/query?query=m&limit=-1", 400, `invalid parameter \"limit\"`},
		{"/query?query=" + esc(`api_requests * on () other`), 422, `"errorType":"execution"`},
		{"/query?query=" + esc(`rate(m[5m] smoothed)`), 400, `have no meaning here`},
		{"/query_range?query=m&end=1&step=1", 400, `invalid parameter \"start\"`},
		{"/query_range?query=m&start=2&end=1&step=1", 400, `end timestamp must not be before start time`},
		{"/query_range?query=m&start=1&end=1&step=0", 400, `zero or negative`},
		{"/query_range?query=m&start=1&end=1", 400, `invalid parameter \"step\"`},
		{"/query_range?query=m[5m]&start=1&end=2&step=1", 400, `must be Scalar or instant Vector`},
		{"/query_range?query=m&start=0&end=11001&step=1", 400, `exceeded maximum resolution of 11,000 points`},
		// The engine's times are nanoseconds.
		{"/query_range?query=api_requests&start=20000000000&end=20000100000&step=60", 400, `too far away`},
		{"/query_range?query=api_requests&start=-10000000000&end=-9999999000&step=60", 400, `too far away`},
		{"/query_range?query=api_requests&start=9223372130&end=9223372230&step=10", 400, `too far away`},
		{"/query_range?query=api_requests&start=-9223372036&end=9223372036&step=1000000", 400, `exceeded maximum resolution of 11,000 points`},
		{"/query_range?query=api_requests&start=9223372000&end=9223372036&step=10", 200, `"result":[]`},
		{"/query_range?query=rate(api_requests[7s])&start=-9000000000&end=9000000000&step=1636381", 422, `errorType`},
		{"/query?query=api_requests&time=20000000000", 400, `too far away`},
		{"/query?query=api_requests&time=9999-12-31T00:00:00Z", 400, `too far away`},
		{"/query?query=api_requests&time=-9223372036", 200, `"result":[]`},
		{"/series?match[]=api_requests&start=-10000000000&end=20000000000", 200, `"status":"success"`},
		{"/series", 400, `no match[] parameter provided`},
		{"/series?match[]={}", 400, `match[]`},
		{"/series?match[]=rate(m[5m])", 400, `match[]`},
		{"/label/%ff/values", 400, `invalid label name`},
		{"/format_query?query=(", 400, `bad_data`},
		{"/query_exemplars", 400, `bad_data`},
		{"/nothing", 404, `"errorType":"not_found"`},
		{"", 404, `not_found`},
	} {
		for _, prefix := range []string{"/api/v1", "/prometheus/api/v1"} {
			resp, body := ask(t, s, "GET", prefix+c.target)
			require.Equal(t, c.code, resp.StatusCode, "%s: %s", c.target, body)
			require.Contains(t, body, c.body, c.target)
			require.True(t, json.Valid([]byte(body)), body)
			require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
			require.NotContains(t, body, "features")
		}
	}
	resp, _ := ask(t, s, "GET", "/prometheus/-/healthy")
	require.Equal(t, 200, resp.StatusCode)
}

func TestPrometheusMethods(t *testing.T) {
	s := startPrometheus(t, query.Limits{}, nil)
	for path, posts := range map[string]bool{
		"/query": true, "/query_range": true, "/series": true, "/labels": true, "/query_exemplars": true, "/format_query": true, "/parse_query": true,
		"/label/code/values": false, "/metadata": false, "/rules": false, "/status/buildinfo": false, "/status/tsdb": false,
	} {
		form := url.Values{"query": {"sum(api_requests)"}, "start": {"1699999900"}, "end": {"1699999960"}, "step": {"30"}, "match[]": {"api_requests"}}.Encode()
		code, body := post(t, s, "/api/v1"+path, formType, form)
		if !posts {
			require.Equal(t, 405, code, "%s: %s", path, body)
			continue
		}
		require.Equal(t, 200, code, "%s: %s", path, body)
		_, same := ask(t, s, "GET", "/api/v1"+path+"?"+form)
		require.Equal(t, same, body, "POST of %s is GET", path)
		resp, _ := ask(t, s, "DELETE", "/api/v1"+path)
		require.Equal(t, 405, resp.StatusCode)
		require.Equal(t, "GET, POST", resp.Header.Get("Allow"))
	}
	code, body := post(t, s, "/api/v1/query", "application/json", `{"query":"m"}`)
	require.Equal(t, 400, code)
	require.Contains(t, body, "form-urlencoded")
	code, body = post(t, s, "/api/v1/query?query=1", formType, "time=5")
	require.Equal(t, 200, code)
	require.Contains(t, body, `[5,"1"]`)
	code, body = post(t, s, "/api/v1/query", formType, "query="+strings.Repeat("1", bodyBytes))
	require.Equal(t, 413, code)
	require.Contains(t, body, `"errorType":"bad_data"`)
}

func TestPrometheusLimits(t *testing.T) {
	s := startPrometheus(t, query.Limits{Series: 1}, nil)
	for _, target := range []string{"/query?query=api_requests", "/query?query=sum(api_requests)", "/series?match[]=api_requests"} {
		resp, body := ask(t, s, "GET", "/api/v1"+target)
		require.Equal(t, 422, resp.StatusCode, body)
		require.Contains(t, body, `{"status":"error","errorType":"execution","error":"this query reads more than 1 series, the limit --max-query-series`)
	}
	resp, body := ask(t, s, "GET", "/api/v1/query?query="+url.QueryEscape(`api_requests{code="200"}`))
	require.Equal(t, 200, resp.StatusCode, body)
	s = startPrometheus(t, query.Limits{Samples: 5}, nil)
	resp, body = ask(t, s, "GET", "/api/v1/query?query=increase(api_requests[7s])")
	require.Equal(t, 422, resp.StatusCode, body)
	require.Contains(t, body, "--max-query-samples")
	s = startPrometheus(t, query.Limits{}, func(ctx context.Context) { <-ctx.Done() })
	resp, body = ask(t, s, "GET", "/api/v1/query?query=api_requests&timeout=50ms")
	require.Equal(t, 422, resp.StatusCode, body)
	require.Contains(t, body, `"errorType":"timeout"`)
}

func TestPrometheusWithoutAView(t *testing.T) {
	s := start(t, noView)
	for _, target := range []string{"/query?query=m", "/labels", "/status/tsdb", "/metadata"} {
		resp, body := ask(t, s, "GET", "/api/v1"+target)
		require.Equal(t, 503, resp.StatusCode, body)
		require.NotContains(t, body, "secret")
		require.True(t, json.Valid([]byte(body)))
	}
}

// TestPrometheusBlames: what is wrong with a query is no failure of the server.
func TestPrometheusBlames(t *testing.T) {
	waits := func(ctx context.Context) { <-ctx.Done() }
	for _, c := range []struct {
		target string
		wait   func(context.Context)
		code   int
		want   query.Counts
		says   string
	}{
		{"/query?query=sum(", nil, 400, query.Counts{Ended: 1}, "parse error"},
		{"/series?match[]={}", nil, 400, query.Counts{Ended: 1}, "at least one non-empty matcher"},
		{"/query?query=" + url.QueryEscape(`api_requests * on () other`), nil, 422, query.Counts{Ended: 1}, "duplicate series"},
		{"/query?query=api_requests&timeout=20ms", waits, 422, query.Counts{Ended: 1, Refused: 1}, "took longer than it may"},
	} {
		s := startPrometheus(t, query.Limits{}, c.wait)
		resp, body := ask(t, s, "GET", "/api/v1"+c.target)
		require.Equal(t, c.code, resp.StatusCode, body)
		got := s.activity.Counts()
		got.Seconds = 0
		require.Equal(t, c.want, got, c.target)
		_, slowest := s.activity.Report()
		require.Contains(t, slowest[0].Err, c.says, c.target)
	}
}
