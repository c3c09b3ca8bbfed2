package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/query"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp writes the Date header from one goroutine for the process, and
		// its worker pool sleeps out its last round.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

func start(t *testing.T, acquire func() (*query.View, error)) *Server {
	t.Helper()
	return startWith(t, Options{
		Executor: &query.Executor{Acquire: acquire}, Status: func() Status { return Status{Version: "test"} },
		Metrics: func(b []byte) []byte { return append(b, "cairn_x 1\n"...) },
	})
}

func startWith(t *testing.T, o Options) *Server {
	t.Helper()
	return startAs(t, o, func(*Server) {})
}

// startAs starts a server that prepare has changed.
func startAs(t *testing.T, o Options, prepare func(*Server)) *Server {
	t.Helper()
	if o.Clock == nil {
		o.Clock = clock.NewManual(time.Unix(1_700_000_000, 0))
	}
	o.Log = slog.New(slog.DiscardHandler)
	s, err := Listen("127.0.0.1:0", o)
	require.NoError(t, err)
	prepare(s)
	s.Start(func(err error) { t.Error(err) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.NoError(t, s.Close(ctx))
	})
	return s
}

func ask(t *testing.T, s *Server, method, target string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.Addr()+target, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(b)
}

func noView() (*query.View, error) { return nil, errors.New("secret path /root/x") }

func TestRoutes(t *testing.T) {
	s := start(t, noView)
	for _, c := range []struct {
		method, target string
		code           int
		body           string
	}{
		{"GET", "/-/healthy", 200, "running"},
		{"GET", "/-/ready", 503, "starting"},
		{"GET", "/metrics", 200, "cairn_x 1"},
		{"GET", "/api/status", 200, `"version":"test"`},
		{"HEAD", "/-/healthy", 200, ""},
		{"POST", "/api/query", 405, "takes GET only"},
		{"DELETE", "/", 405, "takes GET only"},
		{"GET", "/api/nothing", 404, "/api/query"},
		{"GET", "/nothing", 404, "dashboard is at /"},
		{"GET", "/../../etc/passwd", 404, "no such page"},
		{"GET", "/vendor/README.md", 404, "no such page"},
		{"GET", "/api/query", 400, `"param":"metric"`},
		{"GET", "/api/tags", 400, `"param":"metric"`},
		{"GET", "/api/query?metric=m", 503, "counting goes on"},
		{"GET", "/api/metrics", 503, "counting goes on"},
	} {
		resp, body := ask(t, s, c.method, c.target)
		require.Equal(t, c.code, resp.StatusCode, "%s %s: %s", c.method, c.target, body)
		require.Contains(t, body, c.body, "%s %s", c.method, c.target)
		require.NotContains(t, body, "secret")
		require.Equal(t, csp, resp.Header.Get("Content-Security-Policy"))
		require.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
		if c.code >= 400 {
			require.True(t, json.Valid([]byte(body)) || strings.HasPrefix(c.target, "/-/"), body)
		}
	}
	s.SetReady(true)
	resp, _ := ask(t, s, "GET", "/-/ready")
	require.Equal(t, 200, resp.StatusCode)
}

func TestPanicIsOneAnswer(t *testing.T) {
	s := start(t, func() (*query.View, error) { panic("secret") })
	for range 2 {
		resp, body := ask(t, s, "GET", "/api/metrics")
		require.Equal(t, 500, resp.StatusCode)
		require.NotContains(t, body, "secret")
	}
}

// TestCloseRightAfterStart: the server may not have begun to accept.
func TestCloseRightAfterStart(t *testing.T) {
	for range 300 {
		s, err := Listen("127.0.0.1:0", Options{Log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		s.Start(func(err error) { t.Error(err) })
		require.NoError(t, s.Close(context.Background()))
	}
}

func TestPortInUse(t *testing.T) {
	s := start(t, noView)
	_, err := Listen(s.Addr(), Options{})
	require.ErrorContains(t, err, "in use by another process")
}

func TestAssets(t *testing.T) {
	s := start(t, noView)
	for name, a := range s.assets {
		resp, body := ask(t, s, "GET", name)
		require.Equal(t, 200, resp.StatusCode, name)
		require.Equal(t, string(a.plain), body, name)
		require.Equal(t, a.contentType, resp.Header.Get("Content-Type"))
		etag := resp.Header.Get("ETag")
		resp, body = ask(t, s, "GET", name, "If-None-Match", etag)
		require.Equal(t, 304, resp.StatusCode)
		require.Empty(t, body)
		resp, body = ask(t, s, "GET", name, "Accept-Encoding", "gzip")
		require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
		require.Equal(t, string(a.gzip()), body)
	}
}

// The ways in which one file names another.
var (
	references = regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	imports    = regexp.MustCompile(`(?m)(?:\bfrom|^\s*import)\s*["']([^"'\s]+)["']`)
	lazy       = regexp.MustCompile(`\bawait import\(\s*["']([^"'\s]+)["']`) // types are imported without waiting
)

// TestFirstPaintIsSmall: whichever page one begins with, it and all that it needs are
// below the bound. Only a dynamic import may wait until another page is shown.
func TestFirstPaintIsSmall(t *testing.T) {
	assets, err := loadAssets()
	require.NoError(t, err)
	needs := func(begin ...string) map[string]bool {
		found := make(map[string]bool)
		for len(begin) > 0 {
			name := begin[0]
			begin = begin[1:]
			if found[name] {
				continue
			}
			require.Contains(t, assets, name)
			found[name] = true
			named := imports
			if path.Ext(name) == ".html" {
				named = references
			}
			for _, m := range named.FindAllSubmatch(assets[name].plain, -1) {
				begin = append(begin, path.Join(path.Dir(name), string(m[1])))
			}
		}
		return found
	}
	pages := lazy.FindAllSubmatch(assets["/js/shell.js"].plain, -1)
	require.Len(t, pages, 3)
	all := make(map[string]bool)
	for _, m := range pages {
		total := 0
		needed := needs("/index.html", path.Join("/js", string(m[1])))
		for name := range needed {
			total += len(assets[name].gzip())
			all[name] = true
		}
		require.Less(t, total, 100_000, "bytes of the page that begins with %s, compressed", m[1])
		t.Logf("%s: %d bytes", m[1], total)
	}
	require.NotContains(t, needs("/index.html", "/js/live.js"), "/vendor/uplot.js", "Live draws without it")
	for name := range assets {
		require.True(t, all[name] || name == "/" || name == "/js/quality_panel.js", "no page needs %s", name)
	}
}

// TestPageObeysItsPolicy: nothing inline, nothing from elsewhere, and every file
// that is named is there.
func TestPageObeysItsPolicy(t *testing.T) {
	assets, err := loadAssets()
	require.NoError(t, err)
	html := string(assets["/"].plain)
	require.NotRegexp(t, `(?i)<style|\sstyle=|\son[a-z]+=|<script(?:[^>]*)>[^<\s]`, html)
	for _, m := range references.FindAllStringSubmatch(html, -1) {
		require.Contains(t, assets, path.Join("/", m[1]))
	}
	found := 0
	for name, a := range assets {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, m := range append(imports.FindAllSubmatch(a.plain, -1), lazy.FindAllSubmatch(a.plain, -1)...) {
			found++
			require.Contains(t, assets, path.Join(path.Dir(name), string(m[1])), "%s imports %s", name, m[1])
		}
	}
	require.Greater(t, found, 10)
}

// TestVendoredFilesAreWhatTheyWere compares them with the checksums beside them.
func TestVendoredFilesAreWhatTheyWere(t *testing.T) {
	readme, err := os.ReadFile("static/vendor/README.md")
	require.NoError(t, err)
	files, err := os.ReadDir("static/vendor")
	require.NoError(t, err)
	for _, f := range files {
		if ext := path.Ext(f.Name()); ext != ".js" && ext != ".css" {
			continue
		}
		b, err := os.ReadFile("static/vendor/" + f.Name())
		require.NoError(t, err)
		require.Contains(t, string(readme), fmt.Sprintf("%x", sha256.Sum256(b)), f.Name())
	}
}

func TestResultIsJSON(t *testing.T) {
	nan := math.NaN()
	r := &query.Result{
		Metric: "a\"<script>\x01\xff\u2028", Kind: metric.Counter, Fn: query.Count, Grid: query.Grid{From: 10, To: 30, Step: 10}, Tier: metric.Tier10s, SealedUntil: 20,
		Series: []query.Series{
			{Tags: []query.GroupTag{{Key: "k\n", Values: []string{"v"}}, {Key: "m", Values: []string{"", "b"}}}, Values: []float64{nan, 1.5}, Total: 1.5, Min: 1.5, Max: 1.5, Last: 1.5},
			{Values: []float64{math.Copysign(0, -1), 1e300}, Total: 9007199254740992, Min: nan, Max: 0.1, Last: -3},
		},
		Total: 123456789012, SeriesMatched: 2, Truncated: true, Warnings: []string{"w1", "w2"},
	}
	var got map[string]any
	d := json.NewDecoder(bytes.NewReader(appendResult(nil, r)))
	d.UseNumber()
	require.NoError(t, d.Decode(&got))
	series := got["series"].([]any)
	first, second := series[0].(map[string]any), series[1].(map[string]any)
	require.Equal(t, []any{nil, json.Number("1.5")}, first["values"])
	require.Equal(t, map[string]any{"k\n": "v", "m": []any{"", "b"}}, first["tags"])
	require.Equal(t, map[string]any{}, second["tags"])
	require.Equal(t, json.Number("9007199254740992"), second["total"])
	require.Equal(t, []any{json.Number("0"), json.Number("1e+300")}, second["values"])
	require.Nil(t, second["min"])
	require.Equal(t, []any{json.Number("10"), json.Number("20")}, got["times"])
	require.Equal(t, json.Number("123456789012"), got["total"])
	require.Equal(t, []any{"w1", "w2"}, got["warnings"])
	require.Equal(t, "10s", got["tier"])
	require.Equal(t, json.Number("20"), got["sealed_until"])

	require.Contains(t, string(appendResult(nil, &query.Result{Kind: metric.Counter, Tier: metric.Tier1s})), `"times":[],"series":[],"total":0`)
}

// TestTimesAreWritten: as starts of steps, even ones and those of a calendar, also where a
// digit more is needed.
func TestTimesAreWritten(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	early := query.EvenGrid(0, 200_000, 86400)
	for _, g := range []query.Grid{
		{}, query.EvenGrid(0, 10_000, 1), query.EvenGrid(990, 20_000, 7), query.EvenGrid(999_999_000, 1_000_001_000, 10),
		query.EvenGrid(0, 4e9, 1e9), query.CalendarGrid(0, 2e9, query.Span{Months: 1}, berlin), query.CalendarGrid(1_700_000_000, 1_720_000_000, query.Span{Days: 1}, berlin),
		early.Shifted(-90000),
	} {
		var want []string
		for i := range g.Len() {
			want = append(want, fmt.Sprint(int64(g.Start(i))))
		}
		require.Equal(t, "1:"+strings.Join(want, ","), string(appendTimes([]byte("1:"), &query.Result{Grid: g})))
	}
}
