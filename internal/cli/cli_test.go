package cli

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp writes the Date header from one goroutine for the process, and
		// its worker pool sleeps out its last round.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

func run(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = Main(args, &out, &err)
	return code, out.String(), err.String()
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"", 0, ""},
		{"--help", 0, ""},
		{"serve --help", 0, ""},
		{"version", 0, ""},
		{"completion bash", 0, ""},
		{"fly", 2, `no command "fly"`},
		{"serve --wings", 2, "unknown flag: --wings"},
		{"serve now", 2, "now"},
		{"serve --grace 1ms --readers 0", 2, "readers: 0 is not between"},
		{"demo --history 1000h", 2, "not between 0s and 168h"},
		{"query", 2, "accepts 1 arg"},
		{"query m --format xml", 2, `"xml" is not table, json, csv or chart`},
		{"query m --server nowhere", 2, "is not a URL"},
		{"verify now", 2, "now"},
		{"verify --url nowhere", 2, "is not a URL"},
		{"verify --url http://127.0.0.1:1", 2, "is 'cairn serve' running there?"},
		{"verify --url http://127.0.0.1:1 --data-dir x", 2, "exclude one another"},
		{"verify --data-dir /nowhere/at/all", 2, "has no store"},
		{"inspect", 2, "--data-dir is missing"},
		{"inspect now", 2, "now"},
		{"inspect --data-dir x --limit -1", 2, "below 0"},
		{"inspect --data-dir /nowhere/at/all", 1, "has no store"},
		{"inspect --data-dir /nowhere/at/all --compact", 1, "has no store"},
		{"query m --promql --native", 2, "exclude one another"},
		{"query --promql", 2, "needs an argument"},
		{"query m n", 2, "accepts at most 1 arg"},
		{"query m --instant", 2, "--instant is for PromQL"},
		{"query rate(m[1m]) --by x", 2, "--by is for metrics by name"},
		{"query m --promql --top 3", 2, "--top is for metrics by name"},
		{"query m --promql --instant --from -2h", 2, "without --from"},
		{"query m --promql --instant --format chart", 2, "no chart"},
		{"query m --promql --from yesterday", 2, `time "yesterday" is not understood`},
		{"query m --promql --to -2h", 2, "is after to"},
		{"query m --promql --step x", 2, `step "x" is not understood`},
		{"query m --promql --from -30d --step 1s", 2, "11000 are allowed"},
		{"query m --top 0", 2, "--top 0 is below 1"},
		{"query m --bottom -3", 2, "--bottom -3 is below 1"},
		{"query m --limit 0", 2, "--limit 0 is below 1"},
		{"query m --tz Mars/Olympus", 2, `time zone "Mars/Olympus" is not known`},
		{"query m --tz Local", 2, "is not known"},
		{"query m --with a.metric=x", 2, "--expr"},
		{"query --expr a --with metric=x", 2, "is not understood"},
		{"query --expr a --with ab.metric=x", 2, "is not understood"},
		{"query --expr a --with a.from=x", 2, "is not understood"},
		{"query --expr a --with a.metric=", 2, "is not understood"},
		{"query m --width 5", 2, "too small"},
		{"query m --timeout 0s", 2, "--timeout 0s is not above 0"},
		{"query m --server http://127.0.0.1:1", 1, "is 'cairn serve' running there?"},
	} {
		code, _, stderr := run(strings.Fields(c.args)...)
		require.Equal(t, c.code, code, "%q: %s", c.args, stderr)
		require.Contains(t, stderr, c.stderr, c.args)
		require.Equal(t, c.code == 0, stderr == "", "%q: %s", c.args, stderr)
	}
}

const reply = `{"metric":"m","kind":"counter","fn":"count","from":0,"to":20,"step":10,"tier":"10s","sealed_until":0,"times":[0,10],
"series":[{"tags":{"env":"a\u001b[31m,b","zone":["x","y"]},"values":[12345678901,null],"total":12345678901,"min":1,"max":1,"last":1},
{"tags":{},"values":[null,0.5],"total":0.5,"min":0.5,"max":0.5,"last":0.5}],
"total":12345678901.5,"series_matched":3,"truncated":true,"warnings":["mind the gap"]}`

func TestQueryOutput(t *testing.T) {
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		fmt.Fprint(w, reply)
	}))
	defer srv.Close()
	code, out, stderr := run("query", "m", "--server", srv.URL, "--filter", "a:b,c", "--filter", "!d", "--by", "x,y", "--from", "-5m")
	require.Zero(t, code, stderr)
	require.Equal(t, []string{"a:b,c", "!d"}, got.URL.Query()["filter"])
	require.Equal(t, "-5m", got.URL.Query().Get("from"))
	require.Equal(t, "cairn: mind the gap\n", stderr)
	require.NotContains(t, out, "\x1b", "a tag does not colour the terminal")
	require.Contains(t, out, " 12,345,678,901 ")
	require.Contains(t, out, "x|y")
	require.Contains(t, out, "count over the range: 12,345,678,901.5 units, of 3 series; the first 2 groups are shown")

	code, out, _ = run("query", "m", "--server", srv.URL, "--format", "csv")
	require.Zero(t, code)
	require.Equal(t, "time,env,zone,count\n1970-01-01T00:00:00Z,\"a\\x1b[31m,b\",x|y,12345678901\n1970-01-01T00:00:10Z,-,-,0.5\n", out)

	code, out, _ = run("query", "m", "--server", srv.URL, "--format", "json")
	require.Zero(t, code)
	require.Equal(t, reply, out)
}

func TestQueryErrors(t *testing.T) {
	for body, says := range map[string]string{
		`{"error":"the step is odd","param":"step"}`:                      "query: the step is odd",
		`{"error":"no \u001b[2J \"a\\b\"\u202e"}`:                         "query: no \\x1b[2J \"a\\b\"\\u202e\n",
		`{"status":"error","errorType":"bad_data","error":"parse error"}`: "query: parse error",
		`<html>`: "answered 400",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			fmt.Fprint(w, body)
		}))
		code, _, stderr := run("query", "m", "--server", srv.URL)
		srv.Close()
		require.Equal(t, 1, code)
		require.Contains(t, stderr, says)
	}
}

// TestShopIsPlausible: the same seed makes the same traffic, rates are met, and
// the incident is seen in errors and orders.
func TestShopIsPlausible(t *testing.T) {
	at := clock.NewManual(time.Unix(1_700_000_000, 0))
	a, b := newShop(at, 7), newShop(at, 7)
	require.Equal(t, string(a.appendLines(nil, 1_699_990_000, 1, "")), string(b.appendLines(nil, 1_699_990_000, 1, "")))

	count := func(name string, from, to metric.UnixSec) (n float64) {
		for sec := from; sec < to; sec++ {
			for line := range strings.Lines(string(a.appendLines(nil, sec, 1, "|T1"))) {
				var v float64
				if rest, ok := strings.CutPrefix(line, name+":"); ok && strings.Contains(line, "region:"+incidentRegion) {
					_, err := fmt.Sscanf(rest, "%f", &v)
					require.NoError(t, err)
					n += v
				}
				require.Regexp(t, `^shop\.[a-z_]+:[0-9.]+\|[cg]\|#env:[a-z]+,region:[a-z0-9-]+,service:[a-z]+,host:[a-z0-9-]+\|T1\n$`, line)
			}
		}
		return n / float64(to-from)
	}
	height := a.begin - incidentBegin + incidentLength/2
	require.Greater(t, count("shop.errors", height-60, height+60), 5*count("shop.errors", height-1800, height-1680))
	require.Less(t, 2*count("shop.orders", height-60, height+60), count("shop.orders", height-1800, height-1680))
	require.Greater(t, count("shop.queue_depth", height-60, height+60), 3*count("shop.queue_depth", height-1800, height-1680))
	mean := 0.0
	for h := range 24 * 60 {
		mean += day(metric.UnixSec(h*60), -6) / (24 * 60)
	}
	require.InDelta(t, 1, mean, 1e-6)
	sum := 0
	for range 20_000 {
		sum += a.poisson(3.5)
	}
	require.InDelta(t, 3.5, float64(sum)/20_000, 10*math.Sqrt(3.5/20_000))
}

// TestShopHasEveryKind: what takes no timestamp is sent live only, a gauge is read
// once a second however often lines are made, and a later incident slows checkouts.
func TestShopHasEveryKind(t *testing.T) {
	s := newShop(clock.NewManual(time.Unix(1_700_000_000, 0)), 7)
	values := func(from, to metric.UnixSec, suffix string) map[string][]float64 {
		out := map[string][]float64{}
		for sec := from; sec < to; sec++ {
			for range 2 {
				for line := range strings.Lines(string(s.appendLines(nil, sec, 0.5, suffix))) {
					m := regexp.MustCompile(`^(shop\.[a-z_]+):v?([0-9.]+)\|([a-z]+)\|#`).FindStringSubmatch(line)
					require.NotNil(t, m, line)
					v, err := strconv.ParseFloat(m[2], 64)
					require.NoError(t, err)
					out[m[1]+"|"+m[3]] = append(out[m[1]+"|"+m[3]], v)
				}
			}
		}
		return out
	}
	past := values(s.begin-100, s.begin, "|T1")
	require.NotContains(t, past, "shop.checkout_time|ms")
	require.NotContains(t, past, "shop.visitors|s")
	live := values(s.begin, s.begin+100, "")
	for name, all := range map[string]map[string][]float64{"past": past, "live": live} {
		require.Len(t, all["shop.queue_depth|g"], 100*2*len(regions), name)
	}
	require.NotEmpty(t, live["shop.visitors|s"])
	height := s.begin - incidentBegin + incidentEvery + incidentLength/2
	calm, slow := live["shop.checkout_time|ms"], values(height-50, height+50, "")["shop.checkout_time|ms"]
	require.InDelta(t, 180, median(calm), 40)
	require.Greater(t, slices.Max(slow), 2*slices.Max(calm))
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
