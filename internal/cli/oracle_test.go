package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/app"
	"cairn/internal/clock"
	"cairn/internal/config"
	"cairn/internal/metric"
)

// counted is one event, as the oracle has it.
type counted struct {
	metric, env, host string // no tag: ""
	sec               int64
	value             float64
}

// asking is what all three ways are asked.
type asking struct {
	metric, by string
	filter     string // as /api/query has it, and
	matcher    string // as PromQL has it
	match      func(counted) bool
	from, to   int64 // whole minutes
}

// asker asks one server in three ways.
type asker struct {
	t      *testing.T
	base   string
	client http.Client
	now    int64
	events []counted
}

const oracleNow = 1_795_644_030

// TestAllWaysGiveTheSameTotals: random questions over random events of four days, of which the
// tiers hold less and less, are answered alike by GET /api/query, by PromQL, at one instant and
// over a range, and by cairn query in both languages; and as sums made by hand.
func TestAllWaysGiveTheSameTotals(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("CAIRN_QUERY_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("CAIRN_QUERY_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	retention, err := metric.ParseRetention("1s:1h,10s:1d,1m:30d,1h:400d")
	require.NoError(t, err)
	a, err := app.Open(config.Config{
		HTTP: "127.0.0.1:0", DataDir: "data", Grace: 10 * time.Second, FlushInterval: time.Second, Readers: 1, UDPBuffer: 1 << 20,
		UDP:  []config.Listen{{Dialect: "dogstatsd", Address: "127.0.0.1:0"}},
		Line: metric.DefaultLineLimits, MaxMetrics: 1000, MaxSeries: 1000, MaxSeriesPerMetric: 1000, Cache: 1 << 20,
		Retention: metric.Policy{Default: retention},
	}, app.Env{Clock: clock.NewManual(time.Unix(oracleNow, 0)), FS: vfs.NewMem(), Log: slog.New(slog.DiscardHandler), Seed: seed})
	require.NoError(t, err)
	a.Start()
	q := &asker{t: t, base: "http://" + a.HTTPAddr(), now: oracleNow}
	for round := range 5 { // some is stored then, and some is not
		for range 150 {
			q.events = append(q.events, q.send(rng, a))
		}
		for range 140 {
			q.ask(q.draw(rng), round)
		}
	}
	q.client.CloseIdleConnections()
	require.NoError(t, a.Close())
}

func choose[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

func (q *asker) send(rng *rand.Rand, a *app.App) counted {
	e := counted{
		metric: choose(rng, "shop.hits", "shop.hits", "other"), env: choose(rng, "", "prod", "dev"), host: choose(rng, "a", "b", "c"),
		sec: q.now - 60 - rng.Int64N(choose(rng, int64(600), 7200, 4*86400)), value: float64(1 + rng.IntN(9)),
	}
	tags := "host:" + e.host
	if e.env != "" {
		tags += ",env:" + e.env
	}
	a.Inject(fmt.Appendf(nil, "%s:%g|c|#%s|T%d", e.metric, e.value, tags, e.sec))
	return e
}

func (q *asker) draw(rng *rand.Rand) asking {
	out := asking{metric: choose(rng, "shop.hits", "other"), by: choose(rng, "", "env", "host", "env,host")}
	switch rng.IntN(5) {
	case 0:
		out.filter, out.matcher, out.match = "env:prod", `,env="prod"`, func(e counted) bool { return e.env == "prod" }
	case 1:
		out.filter, out.matcher, out.match = "!host:a", `,host!="a"`, func(e counted) bool { return e.host != "a" }
	case 2:
		out.filter, out.matcher, out.match = "host=~a|b", `,host=~"a|b"`, func(e counted) bool { return e.host == "a" || e.host == "b" }
	case 3:
		out.filter, out.matcher, out.match = "env=", `,env=""`, func(e counted) bool { return e.env == "" }
	default:
		out.match = func(counted) bool { return true }
	}
	minutes := 1 + rng.Int64N(choose(rng, int64(30), 300, 3000))
	out.to = q.now/60*60 - 60*rng.Int64N(choose(rng, int64(5), 500, 2500))
	out.from = out.to - 60*minutes
	return out
}

// ask compares the totals by group.
func (q *asker) ask(c asking, round int) {
	want := map[string]float64{}
	for _, e := range q.events {
		if e.metric == c.metric && e.sec >= c.from && e.sec < c.to && c.match(e) {
			var g []string
			for key := range strings.SplitSeq(c.by, ",") {
				if v := map[string]string{"env": e.env, "host": e.host}[key]; v != "" {
					g = append(g, key+"="+v)
				}
			}
			want[strings.Join(g, ";")] += e.value
		}
	}
	about := fmt.Sprintf("round %d: %+v", round, c)
	step := "60"
	require.Equal(q.t, want, q.native(c), about)
	d := (c.to - c.from) / 60
	expr := fmt.Sprintf(`sum by (%s) (increase({"%s"%s}[%dm]))`, c.by, c.metric, c.matcher, d)
	require.Equal(q.t, want, q.prometheus("query", url.Values{"query": {expr}, "time": {fmt.Sprint(c.to)}}), "%s: %s", about, expr)
	every := fmt.Sprintf(`sum by (%s) (rate({"%s"%s}[1m])) * 60`, c.by, c.metric, c.matcher)
	got := q.prometheus("query_range", url.Values{"query": {every}, "start": {fmt.Sprint(c.from + 60)}, "end": {fmt.Sprint(c.to)}, "step": {step}})
	require.Len(q.t, got, len(want), "%s: %s", about, every)
	for g, v := range want {
		require.InDelta(q.t, v, got[g], 1e-6, "%s: %s", about, every)
	}
	shape := []string{"--to", fmt.Sprint(c.to), "--step", "1m", "--format", "csv", "--server", q.base}
	args := append([]string{"query", c.metric, "--by", c.by, "--from", fmt.Sprint(c.from), "--limit", "1000"}, shape...)
	if c.filter != "" {
		args = append(args, "--filter", c.filter)
	}
	require.Equal(q.t, want, q.command(args), about)
	each := fmt.Sprintf(`sum by (%s) (increase({"%s"%s}[1m]))`, c.by, c.metric, c.matcher)
	require.Equal(q.t, want, q.command(append([]string{"query", each, "--from", fmt.Sprint(c.from + 60)}, shape...)), "%s: %s", about, each)
}

func (q *asker) get(path string, params url.Values, into any) {
	resp, err := q.client.Get(q.base + path + "?" + params.Encode())
	require.NoError(q.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(q.t, err)
	require.Equal(q.t, http.StatusOK, resp.StatusCode, "%s %v: %s", path, params, body)
	require.NoError(q.t, json.Unmarshal(body, into))
}

func (q *asker) native(c asking) map[string]float64 {
	p := url.Values{"metric": {c.metric}, "by": {c.by}, "from": {fmt.Sprint(c.from)}, "to": {fmt.Sprint(c.to)}, "step": {"1m"}, "limit": {"1000"}}
	if c.filter != "" {
		p.Set("filter", c.filter)
	}
	var a struct {
		Series []struct {
			Tags  map[string]string
			Total float64
		}
	}
	q.get("/api/query", p, &a)
	out := map[string]float64{}
	for _, s := range a.Series {
		out[labels(s.Tags)] = s.Total
	}
	return out
}

// labels writes tags in the order of their keys.
func labels(tags map[string]string) string {
	var out []string
	for k, v := range tags {
		if v != "" {
			out = append(out, k+"="+v)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ";")
}

// prometheus adds up the values of each series.
func (q *asker) prometheus(api string, p url.Values) map[string]float64 {
	var a struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  []any
				Values [][]any
			}
		}
	}
	q.get("/api/v1/"+api, p, &a)
	out := map[string]float64{}
	for _, s := range a.Data.Result {
		if s.Value != nil {
			s.Values = append(s.Values, s.Value)
		}
		for _, v := range s.Values {
			n, err := strconv.ParseFloat(v[1].(string), 64)
			require.NoError(q.t, err)
			out[labels(s.Metric)] += n
		}
	}
	return out
}

// command adds up the values of each series that a command prints as CSV.
func (q *asker) command(args []string) map[string]float64 {
	code, stdout, stderr := run(args...)
	require.Zero(q.t, code, "%v: %s", args, stderr)
	rows, err := csv.NewReader(bytes.NewReader([]byte(stdout))).ReadAll()
	require.NoError(q.t, err)
	out := map[string]float64{}
	for _, row := range rows[1:] {
		tags := map[string]string{}
		for i, k := range rows[0][1 : len(row)-1] {
			if v := row[i+1]; v != "-" {
				tags[k] = v
			}
		}
		n, err := strconv.ParseFloat(row[len(row)-1], 64)
		require.NoError(q.t, err)
		out[labels(tags)] += n
	}
	return out
}
