package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// problem is the body of an answer that is an error.
type problem struct {
	Error string `json:"error"`
	Param string `json:"param"`
}

func readProblem(t testing.TB, resp *http.Response, body []byte) problem {
	t.Helper()
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"), "%s", body)
	var p problem
	require.NoError(t, json.Unmarshal(body, &p), "%s", body)
	require.Greater(t, len(p.Error), 15, "an error is a sentence: %q", p.Error)
	requireNoTrace(t, p.Error)
	return p
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, c := range []struct{ query, param string }{
		{"", "metric"},
		{"metric=", "metric"},
		{"metric=a&metric=b", "metric"},
		{"metric=a&filter=", "filter"},
		{"metric=a&filter=:v", "filter"},
		{"metric=a&filter=!", "filter"},
		{"metric=a" + strings.Repeat("&filter=k:v", 33), "filter"},
		{"metric=a&by=" + strings.TrimSuffix(many(17), ","), "by"},
		{"metric=a&from=yesterday", "from"},
		{"metric=a&from=-1", "from"},
		{"metric=a&from=-1x", "from"},
		{"metric=a&from=1e300", "from"},
		{"metric=a&from=NaN", "from"},
		{"metric=a&from=1700000000000000", "from"},
		{"metric=a&from=200&to=100", "from"},
		{"metric=a&from=100&to=100", "from"},
		{"metric=a&to=2026-13-01T00:00:00Z", "to"},
		{"metric=a&to=1960-01-01T00:00:00Z", "to"},
		{"metric=a&step=0s", "step"},
		{"metric=a&step=1", "step"},
		{"metric=a&step=1.5s", "step"},
		{"metric=a&step=-1m", "step"},
		{"metric=a&step=1000000w", "step"},
		{"metric=a&fn=median", "fn"},
		{"metric=a&fn=p101", "fn"},
		{"metric=a&fn=above:x", "fn"},
		{"metric=a&kind=counter&fn=p95", "fn"},
		{"metric=a&kind=gauge&fn=rate", "fn"},
		{"metric=a&kind=set&fn=sum", "fn"},
		{"metric=a&kind=timer", "kind"},
		{"metric=a&limit=0", "limit"},
		{"metric=a&limit=1001", "limit"},
		{"metric=a&limit=ten", "limit"},
		{"metric=a&limit=1&limit=2", "limit"},
		{"metric=a&colour=red", "colour"},
		{"metric=a&metrics=a", "metrics"},
	} {
		args, err := url.ParseQuery(c.query)
		require.NoError(t, err)
		resp, body := s.Get("/api/query", args)
		require.Equal(t, http.StatusBadRequest, resp.StatusCode, "%s: %s", c.query, body)
		require.Equal(t, c.param, readProblem(t, resp, body).Param, "%s: %s", c.query, body)
	}
	resp, body := s.Get("/api/query", url.Values{"metric": {"a"}, "step": {"1s"}, "from": {"-30d"}})
	require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode, "nothing is wrong with it; it is too much")
	require.Equal(t, "step", readProblem(t, resp, body).Param)
	resp, body = s.Get("/api/tags", nil)
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Equal(t, "metric", readProblem(t, resp, body).Param)
}

func TestAnUnknownMetricIsNoError(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a := s.Query(url.Values{"metric": {"nothing"}})
	require.NotNil(t, a.Series, "null is no list")
	require.Empty(t, a.Series)
	require.Zero(t, a.Total)
	require.Len(t, a.Warnings, 1)
	require.Contains(t, a.Warnings[0], "nothing")
	_, body := s.Get("/api/metrics", nil)
	require.JSONEq(t, `{"metrics":[]}`, string(body))
	_, body = s.Get("/api/tags", url.Values{"metric": {"nothing"}})
	require.JSONEq(t, `{"tags":[]}`, string(body))
}

func TestTheShapeOfAnAnswer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	now := time.Now().Unix() / 10 * 10
	for i, n := range []int64{5, 0, 7} {
		if n != 0 {
			s.Send(fmt.Sprintf("shape:%d|c|#k:v,k:w,bare|T%d", n, now-100+int64(i)*10))
		}
	}
	s.AwaitReceived(2)
	a := s.Query(url.Values{
		"metric": {"shape"}, "by": {"k,bare"}, "step": {"10s"}, "fn": {"rate"},
		"from": {fmt.Sprint(now - 100)}, "to": {fmt.Sprint(now - 70)},
	})
	require.Equal(t, []int64{now - 100, now - 90, now - 80}, a.Times)
	require.Equal(t, "rate", a.Fn)
	require.Equal(t, "10s", a.Tier)
	require.Equal(t, int64(10), a.Step)
	require.Equal(t, "counter", a.Kind)
	require.Len(t, a.Series, 1)
	row := a.Series[0]
	require.Equal(t, map[string]any{"k": []any{"v", "w"}, "bare": ""}, row.Tags)
	require.Nil(t, row.Values[1], "no event is null")
	require.Equal(t, []float64{0.5, 0.7}, []float64{*row.Values[0], *row.Values[2]})
	require.Equal(t, []float64{0.5, 0.7, 0.7}, []float64{*row.Min, *row.Max, *row.Last})
	require.Equal(t, 12.0, row.Total)
	require.Equal(t, 12.0, a.Total)
	require.Equal(t, 1, a.SeriesMatched)
	require.Empty(t, a.Warnings)
}

func TestTheLimitCutsRowsAndNotTheTotal(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for i := range 20 {
		s.Send(fmt.Sprintf("cut:%d|c|#id:%d", i+1, i))
	}
	s.AwaitReceived(20)
	a := s.Query(url.Values{"metric": {"cut"}, "by": {"id"}, "limit": {"3"}})
	require.True(t, a.Truncated)
	require.Len(t, a.Series, 3)
	require.Equal(t, []float64{20, 19, 18}, []float64{a.Series[0].Total, a.Series[1].Total, a.Series[2].Total})
	require.Equal(t, 210.0, a.Total)
	require.Equal(t, 20, a.SeriesMatched)
}

// paths are all kinds of routes, with what they answer to GET.
var paths = map[string]int{
	"/": 200, "/index.html": 200, "/app.css": 200, "/favicon.svg": 200,
	"/api/query": 400, "/api/metrics": 200, "/api/tags": 400, "/api/status": 200,
	"/api/hot": 200, "/api/rejects": 200, "/api/events": 200,
	"/metrics": 200, "/-/healthy": 200, "/-/ready": 200,
	"/api/nothing": 404, "/nothing": 404, "/static/index.html": 404, "/../../etc/passwd": 404, "/js/": 404,
}

func requireSecurityHeaders(t testing.TB, h http.Header, what string) {
	t.Helper()
	require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'", what)
	require.NotContains(t, h.Get("Content-Security-Policy"), "unsafe", what)
	require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), what)
	require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), what)
}

func TestEveryRoute(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for path, code := range paths {
		resp, body := s.Get(path, nil)
		require.Equal(t, code, resp.StatusCode, path)
		requireSecurityHeaders(t, resp.Header, path)
		require.NotEmpty(t, body, path)
		if code >= 400 {
			readProblem(t, resp, body)
		}

		head, none := s.Do(http.MethodHead, path, nil, nil)
		require.Equal(t, code, head.StatusCode, "HEAD %s", path)
		require.Empty(t, none)
		require.Equal(t, resp.Header.Get("Content-Type"), head.Header.Get("Content-Type"), path)
		requireSecurityHeaders(t, head.Header, "HEAD "+path)
		if code == http.StatusNotFound {
			continue
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			resp, body := s.Do(method, path, nil, strings.NewReader("a:1|c"))
			require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, "%s %s", method, path)
			require.Contains(t, resp.Header.Get("Allow"), "GET", path)
			requireSecurityHeaders(t, resp.Header, method+" "+path)
			readProblem(t, resp, body)
		}
	}
}

func TestHostileNamesRoundTrip(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	names := map[string]string{ // as sent; '/' and blanks are made harmless, as StatsD does
		"<script>alert(1)</script>":     "<script>alert(1)<-script>",
		"<img src=x onerror=alert(1)>":  "<img_src=x_onerror=alert(1)>",
		`"quoted" and \backslashed\`:    `"quoted"_and_\backslashed\`,
		"${jndi}%00&amp'--DROP TABLE":   "${jndi}%00&amp'--DROP_TABLE",
		"\u202eright to left \u2028end": "\u202eright_to_left__end", // U+2028 is white space
	}
	for name := range names {
		s.Send(name + ":1|c|#<b>:<i>")
	}
	// What begins tags in a name and does not go on as tags do is no name.
	noTags := []string{"${jndi}%00&amp;'--;DROP TABLE", "\u202eright to left, \u2028end", "<a>#<b>", "<a>[<b>=<i>"}
	for _, name := range noTags {
		s.Send(name + ":1|c")
	}
	f := s.AwaitReceived(len(names) + len(noTags))
	require.Equal(t, float64(len(noTags)), f.rejected()["bad_tag"], "%v", f.rejected())
	listed := s.Metrics()
	for _, name := range names {
		require.Contains(t, listed, name)
		require.Equal(t, map[string]float64{"<i>": 1}, s.By(name, "1s", "<b>"))
	}
	require.Len(t, listed, len(names))
	resp, body := s.Get("/api/metrics", nil)
	require.NotContains(t, string(body), "<script>", "unescaped, it would be run by whoever sniffs HTML")
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	resp, body = s.Get("/<script>alert(1)</script>", nil)
	require.Equal(t, 404, resp.StatusCode)
	require.NotContains(t, string(body), "<script>")
}

// rawHTTP opens a connection to the HTTP port and writes bytes.
func (s *server) rawHTTP(bytes string) net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.HTTP)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	_, err = c.Write([]byte(bytes))
	require.NoError(s.t, err)
	require.NoError(s.t, c.SetDeadline(time.Now().Add(seenLimit)))
	return c
}

func TestGarbageOnTheHTTPPort(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	r := random(t)
	junk := make([]byte, 4096)
	for i := range junk {
		junk[i] = byte(r.Uint32())
	}
	var slow []net.Conn
	for range 50 {
		slow = append(slow, s.rawHTTP("GET /api/status HTTP/1.1\r\nHost: "))
	}
	for _, request := range []string{
		string(junk) + "\r\n\r\n",
		"\r\n\r\n\r\n",
		"GET\r\n\r\n",
		"GET / HTTP/9.9\r\n\r\n",
		"GET /api/query?metric=%zz%00%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n",
		"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		c := s.rawHTTP("")
		_, _ = c.Write([]byte(request)) // it may hang up in the middle
		_ = c.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(c) // a reset is an answer too
		requireNoTrace(t, string(answer))
		require.NotContains(t, string(answer), "HTTP/1.1 5", "%.80q", request)
	}
	_, err := tls.Dial("tcp", s.HTTP, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // nothing is trusted here
	require.Error(t, err)

	s.Send("a:1|c")
	s.AwaitReceived(1)
	s.RequireTotal(1, "a")
	for _, c := range slow { // they still get their answers
		_, err := c.Write([]byte("x\r\nConnection: close\r\n\r\n"))
		require.NoError(t, err)
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 200"), "%s", answer)
	}
	s.MustStop()
}

func TestAMalformedRequestGetsTheHeadersToo(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for request, code := range map[string]string{
		"GET\r\n\r\n": "400",
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n": "431",
		// A body is read by whoever has a use for it, and nobody has here.
		"POST /api/explain HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + strings.Repeat("x", 9000):                            "413",
		"POST /api/ingest HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n" + strings.Repeat("x", 9000): "413",
	} {
		answer, _ := io.ReadAll(s.rawHTTP(request)) // a reset follows where the server did not read all
		require.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 "+code), "%.60q: %s", request, answer)
		require.Contains(t, string(answer), "X-Content-Type-Options: nosniff")
		require.Contains(t, string(answer), "Content-Security-Policy: default-src 'none'")
		require.Contains(t, string(answer), `{"error":"`)
	}
}
