package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
)

// topAnswers are those of a server that `cairn top` asks.
func topAnswers() map[string]string {
	trend := func(kind, fn, total string) string {
		return fmt.Sprintf(`{"metric":"m","kind":%q,"fn":%q,"from":%d,"to":%d,"step":1,"times":%s,"series":[{"tags":{},"values":%s,"total":%s}],"total":%s,"series_matched":1}`,
			kind, fn, fakeNow-60, fakeNow, values(60, func(i int) float64 { return float64(fakeNow - 60 + i) }), values(60, func(i int) float64 { return float64(i % 13) }), total, total)
	}
	return map[string]string{
		"/api/hot": fmt.Sprintf(`{"from":%d,"to":%d,"events":123456,"rate":12345.6,"series":[
			{"metric":"api.requests","kind":"counter","tags":{"region":"eu-west-1","host":"a\u001b[2J","role":["x","y"],"flag":""},"events":80000,"rate":8000,"share":0.648},
			{"metric":"api.requests","kind":"counter","tags":{},"events":30000,"rate":3000,"share":0.243},
			{"metric":"queue\u0007","kind":"gauge","tags":{"name":"mail"},"events":13456,"rate":1345.6,"share":0.109}]}`, fakeNow-10, fakeNow),
		"/api/metrics": fmt.Sprintf(`{"metrics":[
			{"metric":"api.requests","kind":"counter","series":1234567,"last_seen":%d},
			{"metric":"queue\u0007","kind":"gauge","series":3,"last_seen":%d},
			{"metric":"request.time","kind":"distribution","series":40,"last_seen":%d},
			{"metric":"visitors","kind":"set","series":2,"last_seen":%d}]}`, fakeNow-1, fakeNow-3, fakeNow-90, fakeNow),
		"/api/query?metric=api.requests": trend("counter", "rate", "741360"),
		"/api/query?metric=queue\a":      trend("gauge", "last", "12.5"),
		"/api/query?metric=request.time": trend("distribution", "p95", "183.456"),
		"/api/query?metric=visitors":     trend("set", "uniques", "703"),
		"/api/query":                     "{}",
		"/api/quality": fmt.Sprintf(`{"now":%d,"ledger":{"imbalance":0,"units_imbalance":0,"since":%d,"received":9876543210,"accepted":9876543000,"rejected":{"bad_value":200,"no_type":5},
			"shed":{"memory":5},"duplicate":17,"kernel_dropped":3,"lost":2},"ingestion_lag":{"journaled_s":0.4,"stored_s":12.34},"flush":{"last_ms":3.21},"fsync":{"p99_ms":8.192},"disk":{"short":false}}`, fakeNow, fakeNow-7384),
	}
}

func (f *fake) top(t *testing.T, d display, flags topFlags) (string, error) {
	t.Helper()
	var out bytes.Buffer
	d.out, flags.server = &out, f.URL
	if flags.interval == 0 {
		flags.interval = time.Hour
	}
	require.NoError(t, flags.check())
	err := runTop(t.Context(), d, nil, flags, clock.NewManual(time.Unix(fakeNow, 0)))
	return out.String(), err
}

func TestGoldenTop(t *testing.T) {
	short := display{terminal: true, colour: true, width: 60, height: 11}
	partly, wrong, idle := topAnswers(), topAnswers(), topAnswers()
	partly["/api/hot"] = strings.Replace(partly["/api/hot"], `"events":123456`, `"events":200000`, 1)
	wrong["/api/quality"] = strings.Replace(wrong["/api/quality"], `"imbalance":0,"units_imbalance":0`, `"imbalance":-3,"units_imbalance":1.5`, 1)
	wrong["/api/quality"] = strings.Replace(wrong["/api/quality"], `"short":false}`, `"short":true},"memory_short":true`, 1)
	idle["/api/hot"] = fmt.Sprintf(`{"from":%d,"to":%d,"events":0,"rate":0,"series":[]}`, fakeNow-10, fakeNow)
	idle["/api/metrics"] = `{"metrics":[]}`
	for _, c := range []struct {
		name    string
		answers map[string]string
		d       display
		flags   topFlags
	}{
		{"top", topAnswers(), plain, topFlags{sort: "events", limit: 10}},
		{"top-colour", topAnswers(), coloured, topFlags{sort: "events", limit: 10}},
		{"top-short", topAnswers(), short, topFlags{sort: "series", limit: 10}},
		{"top-seen", topAnswers(), plain, topFlags{sort: "seen", limit: 2}},
		{"top-name", topAnswers(), plain, topFlags{sort: "name", limit: 10}},
		{"top-partly", partly, plain, topFlags{sort: "events", limit: 1}},
		{"top-wrong", wrong, display{terminal: true, colour: true, width: 160, height: 40}, topFlags{sort: "events", limit: 10}},
		{"top-idle", idle, plain, topFlags{sort: "events", limit: 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.flags.once = true
			f := newFake(t, c.answers)
			out, err := f.top(t, c.d, c.flags)
			require.NoError(t, err)
			requireHarmless(t, c.d, out)
			if c.d.terminal {
				require.LessOrEqual(t, strings.Count(out, "\n"), c.d.height-1)
			}
			requireGolden(t, c.name, out)
		})
	}
}

// TestTopAsksForRowsOnly: what is not shown is not asked for.
func TestTopAsksForRowsOnly(t *testing.T) {
	f := newFake(t, topAnswers())
	_, err := f.top(t, plain, topFlags{sort: "events", limit: 2, once: true})
	require.NoError(t, err)
	var metrics []string
	for _, u := range f.asked {
		if u.Path == "/api/query" {
			metrics = append(metrics, u.Query().Get("metric")+" "+u.Query().Get("fn")+" "+u.Query().Get("kind"))
		}
	}
	require.Equal(t, []string{"api.requests rate counter", "queue\a last gauge"}, metrics)
}

func TestTopJSON(t *testing.T) {
	f := newFake(t, topAnswers())
	out, err := f.top(t, plain, topFlags{sort: "series", limit: 2, once: true, json: true})
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(out, "\n"))
	var s sample
	require.NoError(t, json.Unmarshal([]byte(out), &s))
	require.EqualValues(t, fakeNow, s.At)
	require.Len(t, s.Metrics, 2)
	require.Equal(t, "api.requests", s.Metrics[0].Metric)
	require.Equal(t, uint64(110_000), s.Metrics[0].Events)
	require.Equal(t, 11_000.0, s.Metrics[0].Rate)
	require.Equal(t, 12_356.0, *s.Metrics[0].Now, "units a second: the total of a rate is the count")
	require.Len(t, s.Hot, 2)
	require.Contains(t, out, `"role":["x","y"]`)
	require.Contains(t, out, `"flag":""`)
	require.True(t, s.Whole)
}

// lines counts them, and stops after so many.
type stopAfter struct {
	io.Writer
	left int
	stop context.CancelFunc
}

func (s *stopAfter) Write(p []byte) (int, error) {
	if s.left--; s.left == 0 {
		s.stop()
	}
	return s.Writer.Write(p)
}

// TestTopLinesGoOn: a line each interval, until it is stopped, which is no failure.
func TestTopLinesGoOn(t *testing.T) {
	f := newFake(t, topAnswers())
	ctx, stop := context.WithCancel(t.Context())
	var out bytes.Buffer
	d := plain
	d.out = &stopAfter{&out, 3, stop}
	require.NoError(t, runTop(ctx, d, nil, topFlags{server: f.URL, sort: "events", limit: 3, interval: minInterval, json: true}, clock.NewSystem()))
	require.Equal(t, 3, strings.Count(out.String(), "\n"))
}

func TestTopErrors(t *testing.T) {
	for _, c := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"top", 2, "the output is no terminal"},
		{"top x", 2, "x"},
		{"top --sort size --once", 2, `--sort "size" is not events, series, seen, name`},
		{"top --limit 0 --once", 2, "--limit 0 is not between"},
		{"top --limit 101 --once", 2, "--limit 101 is not between"},
		{"top --interval 1ms --once", 2, "--interval 1ms is not between"},
		{"top --once --server nowhere", 2, "is not a URL"},
		{"top --once --server ftp://127.0.0.1", 2, "is not a URL"},
		{"top --json --server http://127.0.0.1:1", 1, "is 'cairn serve' running there?"},
	} {
		code, stdout, stderr := run(strings.Fields(c.args)...)
		require.Equal(t, c.code, code, "%q: %s", c.args, stderr)
		require.Contains(t, stderr, c.stderr, c.args)
		require.Empty(t, stdout)
	}
	for path, body := range map[string]string{"/api/hot": "[]", "/api/metrics": "<html>", "/api/quality": `{"now":"x"}`, "/api/query": `{"times":[]}`} {
		answers := topAnswers()
		answers[path] = body
		if path == "/api/query" {
			delete(answers, "/api/query?metric=api.requests")
		}
		f := newFake(t, answers)
		out, err := f.top(t, plain, topFlags{sort: "events", limit: 10, once: true})
		require.ErrorContains(t, err, "is not Cairn's", path)
		require.Empty(t, out)
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	code, _, stderr := run("top", "--once", "--server", srv.URL)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "answered 404")
}
