package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/ingest"
	"cairn/internal/metric"
)

// hostile is text that must not act where it is shown.
const hostile = "<script>alert(1)</script>\"\\\x01\u2028\u202e"

// inspected is a server over fixed answers, and what it was asked.
type inspected struct {
	*Server
	hot      int // what Options.Hot was called with
	line     string
	from, to metric.UnixSec
	n        int
	turns    int // tokens in the gate meanwhile
}

func inspect(t *testing.T, hot Hot, report ingest.Report, noted []ingest.Noted) *inspected {
	t.Helper()
	s := new(inspected)
	s.Server = startWith(t, Options{
		Hot: func(n int) Hot {
			s.hot, s.turns = n, len(s.gate.tokens)
			return hot
		},
		Rejects: func() ingest.Report { return report },
		Explain: func(line []byte) []ingest.Explanation {
			s.line = string(line)
			return ingest.Explain(line, ingest.Parser{Limits: metric.DefaultLineLimits}, 1_700_000_000)
		},
		Events: func(from, to metric.UnixSec, n int) []ingest.Noted {
			s.from, s.to, s.n, s.turns = from, to, n, len(s.gate.tokens)
			return noted
		},
	})
	return s
}

func (s *inspected) post(t *testing.T, body string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+s.Addr()+"/api/explain", "text/plain", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	return resp.StatusCode, string(b)
}

func hotOf(name string, k metric.Kind, events uint64, tags ...metric.Tag) agg.Hot {
	return agg.Hot{Series: metric.Series{ID: metric.ID{Name: name, Kind: k}, Tags: metric.NewTagset(tags)}, Events: events}
}

func TestHotSeries(t *testing.T) {
	tags := []metric.Tag{{Key: "k", Value: "v"}, {Key: "k", Value: "w"}, {Key: "k", Value: "x"}, {Key: "bare"}}
	s := inspect(t, Hot{
		From: 100, To: 110, Events: 40,
		Series: []agg.Hot{hotOf("a", metric.Counter, 30, tags...), hotOf("b", metric.Distribution, 5)},
	}, ingest.Report{}, nil)
	_, body := ask(t, s.Server, "GET", "/api/hot")
	require.JSONEq(t, `{"from":100,"to":110,"events":40,"rate":4,"series":[
		{"metric":"a","kind":"counter","tags":{"k":["v","w","x"],"bare":""},"events":30,"rate":3,"share":0.75},
		{"metric":"b","kind":"distribution","tags":{},"events":5,"rate":0.5,"share":0.125}]}`, body)
	require.Equal(t, 20, s.hot)
	for _, c := range []struct {
		limit string
		n     int
	}{{"1", 1}, {"1000", 1000}, {"", 20}, {"%2B7", 7}} {
		resp, body := ask(t, s.Server, "GET", "/api/hot?limit="+c.limit)
		require.Equal(t, 200, resp.StatusCode, body)
		require.Equal(t, c.n, s.hot, c.limit)
	}
}

func TestHotWithoutEvents(t *testing.T) {
	s := inspect(t, Hot{From: 100, To: 110}, ingest.Report{}, nil)
	resp, body := ask(t, s.Server, "GET", "/api/hot")
	require.Equal(t, 200, resp.StatusCode, body)
	require.JSONEq(t, `{"from":100,"to":110,"events":0,"rate":0,"series":[]}`, body)
}

func TestRejectsAreShown(t *testing.T) {
	s := inspect(t, Hot{}, ingest.Report{
		Total:   2,
		Reasons: []ingest.RejectReason{{Reason: "bad_value", Count: 2, Samples: []ingest.RejectSample{{Time: 1_700_000_000_123, Sender: "127.0.0.1", Line: hostile}}}},
		Senders: []ingest.RejectCount{{Name: "127.0.0.1", Count: 2}},
		Metrics: []ingest.RejectCount{{Name: hostile, Count: 2}},
	}, nil)
	_, body := ask(t, s.Server, "GET", "/api/rejects")
	requireHarmless(t, body)
	quoted, err := json.Marshal(hostile)
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"total":2,"reasons":[{"reason":"bad_value","count":2,"samples":[{"time":1700000000123,"sender":"127.0.0.1","line":%s}]}],
		"senders":[{"name":"127.0.0.1","count":2}],"metrics":[{"name":%[1]s,"count":2}]}`, quoted), body)
	s = inspect(t, Hot{}, ingest.Rejects(nil), nil)
	_, body = ask(t, s.Server, "GET", "/api/rejects")
	require.JSONEq(t, `{"total":0,"reasons":[],"senders":[],"metrics":[]}`, body, "lists, not null")
}

func requireHarmless(t *testing.T, body string) {
	t.Helper()
	require.True(t, json.Valid([]byte(body)), body)
	require.NotContains(t, body, "<script", "unescaped, it would be run by whoever sniffs HTML")
	require.NotContains(t, body, "\u2028", "a line end in JavaScript")
}

func TestExplainOverHTTP(t *testing.T) {
	s := inspect(t, Hot{}, ingest.Report{}, nil)
	for _, end := range []string{"", "\n", "\r\n"} {
		code, body := s.post(t, "a:+2|g|#k:v"+end)
		require.Equal(t, 200, code, body)
		require.Equal(t, "a:+2|g|#k:v", s.line)
		event := `{"name":"a","kind":"gauge","value":2,"op":%q,"weight":1,"time":1700000000,"tags":[{"key":"k","value":"v"}]}`
		require.JSONEq(t, fmt.Sprintf(`{"line":"a:+2|g|#k:v","dialects":[
			{"dialect":"dogstatsd","events":[`+event+`]},{"dialect":"etsy","events":[`+event+`]},{"dialect":"brubeck","events":[`+event+`]}]}`,
			"reading", "adjust", "reading"), body)
	}
	code, body := s.post(t, hostile+":1|c")
	require.Equal(t, 200, code)
	requireHarmless(t, body)
	var got struct {
		Line     string
		Dialects []ingest.Explanation
	}
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Equal(t, hostile+":1|c", got.Line)
	for _, d := range got.Dialects {
		require.Equal(t, "bad_name", d.Rejected.Reason, d.Dialect)
		require.Empty(t, d.Events)
	}
}

func TestExplainTakesOneLine(t *testing.T) {
	s := inspect(t, Hot{}, ingest.Report{}, nil)
	for body, sentence := range map[string]string{
		"": "the body is empty", "\r\n": "the body is empty", "a:1|c\nb:1|c": "several lines", "\na:1|c": "several lines",
	} {
		code, answer := s.post(t, body)
		require.Equal(t, 400, code, "%q", body)
		require.Contains(t, answer, sentence, "%q", body)
		require.Empty(t, s.line, "%q was explained", body)
	}
	code, answer := s.post(t, strings.Repeat("x", bodyBytes+1))
	require.Equal(t, 413, code)
	require.Contains(t, answer, "65536 bytes")
	code, answer = s.post(t, strings.Repeat("x", bodyBytes))
	require.Equal(t, 200, code)
	require.Contains(t, answer, `"reason":"line_too_long"`)
}

func TestEventsAreShown(t *testing.T) {
	s := inspect(t, Hot{}, ingest.Report{}, []ingest.Noted{
		{Seq: 1, Annotation: metric.Annotation{
			Time: 1_699_999_000, Title: hostile, Text: "a\nb", Status: "error", Priority: "low", Host: "h", Key: "k", Source: "s",
			Tags: metric.NewTagset([]metric.Tag{{Key: "env", Value: hostile}}),
		}},
		{Seq: 2, Annotation: metric.Annotation{Time: 1_699_999_500, Check: true, Title: "disk", Status: "ok"}},
	})
	_, body := ask(t, s.Server, "GET", "/api/events")
	requireHarmless(t, body)
	quoted, err := json.Marshal(hostile)
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"events":[
		{"time":1699999000,"type":"event","title":%s,"text":"a\nb","status":"error","priority":"low","host":"h","key":"k","source":"s","tags":{"env":%[1]s}},
		{"time":1699999500,"type":"service_check","title":"disk","status":"ok","tags":{}}]}`, quoted), body)
	require.Equal(t, []int{1_700_000_001 - 3600, 1_700_000_001, 1000}, []int{int(s.from), int(s.to), s.n}, "the running second is in it")
	_, body = ask(t, s.Server, "GET", "/api/events?from=1700000000&to=2023-11-14T22:13:30Z&limit=10000")
	require.NotContains(t, body, "error\":\"f")
	require.Equal(t, []int{1_700_000_000, 1_700_000_010, 10_000}, []int{int(s.from), int(s.to), s.n})
	s = inspect(t, Hot{}, ingest.Report{}, nil)
	_, body = ask(t, s.Server, "GET", "/api/events")
	require.JSONEq(t, `{"events":[]}`, body)
}

func TestBadParametersOfInspection(t *testing.T) {
	s := inspect(t, Hot{From: 0, To: 10}, ingest.Report{}, nil)
	for _, c := range []struct {
		method, target string
		code           int
		param          string
	}{
		{"GET", "/api/hot?limit=0", 400, "limit"},
		{"GET", "/api/hot?limit=1001", 400, "limit"},
		{"GET", "/api/hot?limit=-1", 400, "limit"},
		{"GET", "/api/hot?limit=1.5", 400, "limit"},
		{"GET", "/api/hot?limit=%3Cscript%3E", 400, "limit"},
		{"GET", "/api/hot?limit=99999999999999999999", 400, "limit"},
		{"GET", "/api/events?limit=10001", 400, "limit"},
		{"GET", "/api/events?limit=x", 400, "limit"},
		{"GET", "/api/events?from=yesterday", 400, "from"},
		{"GET", "/api/events?to=%3Cscript%3E", 400, "to"},
		{"GET", "/api/events?from=1e300", 400, "from"},
		{"GET", "/api/events?from=200&to=100", 400, "from"},
		{"POST", "/api/hot", 405, ""},
		{"POST", "/api/rejects", 405, ""},
		{"DELETE", "/api/events", 405, ""},
		{"GET", "/api/explain", 405, ""},
		{"HEAD", "/api/explain", 405, ""},
		{"PUT", "/api/explain", 405, ""},
		{"HEAD", "/api/hot", 200, ""},
		{"HEAD", "/api/rejects", 200, ""},
		{"HEAD", "/api/events", 200, ""},
	} {
		s.hot, s.n = -1, -1
		resp, body := ask(t, s.Server, c.method, c.target)
		require.Equal(t, c.code, resp.StatusCode, "%s %s: %s", c.method, c.target, body)
		require.Equal(t, csp, resp.Header.Get("Content-Security-Policy"))
		require.NotContains(t, body, "<script")
		if c.code == 200 {
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
			continue
		}
		require.Equal(t, -1, s.hot, "%s was answered", c.target)
		require.Equal(t, -1, s.n, "%s was answered", c.target)
		if c.method == "HEAD" {
			continue
		}
		var p struct{ Error, Param string }
		require.NoError(t, json.Unmarshal([]byte(body), &p), body)
		require.Equal(t, c.param, p.Param, c.target)
		require.Greater(t, len(p.Error), 15)
		if c.code == 405 {
			want := "GET"
			if strings.HasSuffix(c.target, "explain") {
				want = "POST"
			}
			require.Equal(t, want, resp.Header.Get("Allow"), c.target)
		}
	}
}

func TestInspectionWaitsItsTurn(t *testing.T) {
	s := inspect(t, Hot{From: 0, To: 10}, ingest.Report{}, nil)
	for _, path := range []string{"/api/hot", "/api/events"} {
		s.turns = 0
		resp, _ := ask(t, s.Server, "GET", path)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, 1, s.turns, path)
		require.Empty(t, s.gate.tokens, "given back")
	}
}
