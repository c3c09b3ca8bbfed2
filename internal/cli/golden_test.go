package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
)

// rewrite makes the files of what is printed again; look at what has changed:
//
//	go test ./internal/cli -run TestGolden -rewrite
var rewrite = flag.Bool("rewrite", false, "make testdata/*.golden again")

func requireGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, name)
}

// fakeNow is what the clock of these tests shows: 25 November 2026, 22:00:30 UTC.
const fakeNow = 1_795_644_030

// fake is a server of fixed answers by path, which notes what it was asked for.
type fake struct {
	*httptest.Server
	answers map[string]string
	asked   []*url.URL
}

func newFake(t *testing.T, answers map[string]string) *fake {
	f := &fake{answers: answers}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked = append(f.asked, r.URL)
		body, ok := f.answers[r.URL.Path]
		if by := f.answers[r.URL.Path+"?metric="+r.URL.Query().Get("metric")]; by != "" {
			body, ok = by, true
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, body)
	}))
	t.Cleanup(f.Close)
	return f
}

// values writes n numbers as JSON; NaN is null.
func values(n int, at func(i int) float64) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = "null"
		if v := at(i); !math.IsNaN(v) {
			parts[i] = strconv.FormatFloat(v, 'g', -1, 64)
		}
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func native(kind, fn, extra string, from, step, n int, series ...string) string {
	return fmt.Sprintf(`{"metric":"shop.orders","kind":%q,"fn":%q,"from":%d,"to":%d,"step":%d,"tier":"10s","times":%s,"series":[%s],%s"series_matched":7,"truncated":false,"warnings":[]}`,
		kind, fn, from, from+n*step, step, values(n, func(i int) float64 { return float64(from + i*step) }), strings.Join(series, ","), extra)
}

func series(tags, total string, n int, at func(i int) float64) string {
	return fmt.Sprintf(`{"tags":%s,"values":%s,%s}`, tags, values(n, at), total)
}

// begin is the first time of most answers: an hour before fakeNow, on a whole minute.
const begin = fakeNow - 30 - 3600

// The answers of which the golden files are made.
func goldenAnswers() map[string]string {
	nothing := math.NaN()
	wave := func(height, phase float64) func(int) float64 {
		return func(i int) float64 { return math.Round(height * (1.2 + math.Sin(float64(i)/9+phase))) }
	}
	counts := native("counter", "count", `"total":13042,`, begin, 60, 60,
		series(`{"region":"eu-west-1"}`, `"total":7203,"min":40,"max":220,"last":61`, 60, wave(100, 0)),
		series(`{"region":"us-east-1"}`, `"total":4321,"min":24,"max":132,"last":44`, 60, wave(60, 2)),
		series(`{}`, `"total":1518,"min":8,"max":44,"last":12`, 60, func(i int) float64 {
			if i > 20 && i < 30 {
				return nothing
			}
			return wave(20, 1)(i)
		}))
	levels := native("gauge", "last", `"total":12,`, begin, 60, 60,
		series(`{"region":"eu-west-1","host":"a"}`, `"total":12,"min":8,"max":88,"last":12`, 60, wave(40, 0)),
		series(`{"region":"us-east-1","host":"b"}`, `"total":7.3333333333333,"min":-4,"max":44,"last":7.3333333333333`, 60, func(i int) float64 {
			if i%20 > 14 {
				return nothing
			}
			return wave(20, 3)(i) - 8
		}))
	many := make([]string, 12)
	for i := range many {
		many[i] = series(fmt.Sprintf(`{"host":"web-%d"}`, i), fmt.Sprintf(`"total":%d,"min":1,"max":2,"last":1`, 100-i), 4, func(j int) float64 { return float64(20 - i + j) })
	}
	return map[string]string{
		"counts": counts,
		"levels": levels,
		"single": native("counter", "count", `"total":12345678.9,`, begin, 3600, 24, series(`{}`, `"total":12345678.9,"min":0.5,"max":1200000,"last":3`, 24, func(i int) float64 { return 50_000 * float64(i) })),
		"folded": native("counter", "count", `"total":700,`, begin, 600, 6,
			series(`{"host":"web-1"}`, `"total":400,"min":40,"max":90,"last":61`, 6, wave(50, 0)),
			strings.Replace(series(`{}`, `"total":300,"min":4,"max":90,"last":61`, 6, wave(40, 1)), "{", `{"other":true,`, 1)),
		"hostile": native("counter", "count", `"total":3,`, begin, 600, 2,
			series(`{"k":"\u001b[31mred\u0007\u202e","\u001b]0;title\u0007":["a\nb","表示"]}`, `"total":3,"min":1,"max":2,"last":2`, 2, func(i int) float64 { return float64(i + 1) })),
		"many":  native("counter", "count", `"total":1134,`, begin, 600, 4, many...),
		"share": native("distribution", "above:250", `"total":0.12345678,`, begin, 600, 4, series(`{}`, `"total":0.12345678,"min":0.01,"max":0.5,"last":0.25`, 4, func(i int) float64 { return float64(i) / 10 })),
		"p95":   native("distribution", "p95", `"total":183.4567,`, begin, 600, 4, series(`{}`, `"total":183.4567,"min":101.123,"max":2000.5,"last":150`, 4, func(i int) float64 { return 100 + float64(i) })),
		"days": `{"metric":"shop.orders","kind":"counter","fn":"count","from":1792879200,"to":1793314800,"step":86400,"tier":"1h","times":[1792879200,1792965600,1793055600,1793142000,1793228400],
			"series":[{"tags":{},"values":[10,25,11,9,12],"total":67,"min":9,"max":25,"last":12}],"total":67,"series_matched":1,"truncated":false,"warnings":[]}`,
		"expr":  `{"expr":"a / b","metric":"","kind":"","fn":"","from":` + strconv.Itoa(begin) + `,"to":` + strconv.Itoa(begin+1200) + `,"step":600,"times":[` + strconv.Itoa(begin) + `,` + strconv.Itoa(begin+600) + `],"series":[{"tags":{"region":"eu"},"values":[0.5,0.0123456],"total":0.25,"min":0.0123456,"max":0.5,"last":0.0123456}],"total":0.25,"series_matched":2}`,
		"empty": native("counter", "count", `"total":0,`, begin, 600, 4),
	}
}

// ask runs a query command line against f, on a display.
func (f *fake) ask(t *testing.T, d display, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var flags queryFlags
	fl := pflag.NewFlagSet("query", pflag.ContinueOnError)
	flags.register(fl)
	require.NoError(t, fl.Parse(append(args, "--server", f.URL)))
	flags.text = fl.Arg(0)
	require.NoError(t, flags.check(fl))
	var out, errs bytes.Buffer
	d.out = &out
	err = runQuery(t.Context(), d, &errs, &flags, clock.NewManual(time.Unix(fakeNow, 0)))
	return out.String(), errs.String(), err
}

var (
	plain    = display{width: plainWidth, height: plainHeight}
	coloured = display{terminal: true, colour: true, width: 80, height: 20}
	colder   = display{terminal: true, width: 80, height: 20} // NO_COLOR
)

func TestGoldenQueries(t *testing.T) {
	answers := goldenAnswers()
	for _, c := range []struct {
		name, answer string
		d            display
		args         string
	}{
		{"table", "counts", plain, ""},
		{"table-spark", "counts", plain, "--spark"},
		{"table-terminal", "levels", coloured, ""},
		{"table-folded", "folded", plain, "--spark"},
		{"table-hostile", "hostile", coloured, ""},
		{"table-share", "share", plain, ""},
		{"table-p95", "p95", plain, ""},
		{"table-empty", "empty", coloured, ""},
		{"table-expr", "expr", plain, ""},
		{"table-days", "days", plain, "--tz Europe/Berlin --shift -1d --cumulative"},
		{"csv", "levels", plain, "--format csv"},
		{"csv-zone", "days", plain, "--format csv --tz Europe/Berlin"},
		{"csv-folded", "folded", plain, "--format csv"},
		{"chart-bars", "counts", plain, "--format chart"},
		{"chart-bars-colour", "counts", coloured, "--format chart"},
		{"chart-bars-narrow", "counts", colder, "--format chart --width 46"},
		{"chart-single", "single", plain, "--format chart"},
		{"chart-folded", "folded", plain, "--format chart"},
		{"chart-many", "many", coloured, "--format chart"},
		{"chart-lines", "levels", colder, "--format chart"},
		{"chart-lines-colour", "levels", coloured, "--format chart --height 30"},
		{"chart-line", "p95", plain, "--format chart"},
		{"chart-share", "share", plain, "--format chart"},
		{"chart-cumulative", "counts", coloured, "--format chart --cumulative"},
		{"chart-days", "days", plain, "--format chart --tz Europe/Berlin"},
		{"chart-hostile", "hostile", plain, "--format chart"},
		{"chart-empty", "empty", plain, "--format chart"},
		{"chart-expr", "expr", plain, "--format chart"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, map[string]string{"/api/query": answers[c.answer]})
			out, errs, err := f.ask(t, c.d, append(strings.Fields(c.args), "shop.orders")...)
			require.NoError(t, err)
			require.Empty(t, errs)
			requireHarmless(t, c.d, out)
			requireGolden(t, c.name, out)
		})
	}
}

// requireHarmless looks for what a terminal obeys, other than colours where there are some,
// and for lines that are wider than the display; the first may be.
func requireHarmless(t *testing.T, d display, out string) {
	t.Helper()
	heading := true
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		for i, r := range line {
			if r == '\x1b' && d.colour {
				require.Regexp(t, `^\x1b\[[0-9;]+m`, line[i:])
				continue
			}
			require.True(t, strconv.IsPrint(r), "%q", line)
		}
		if !heading {
			require.LessOrEqual(t, visible(line), max(d.width, plainWidth), line)
		}
		heading = false
	}
}

// promAnswers are PromQL's.
var promAnswers = map[string]string{
	"matrix": `{"status":"success","data":{"resultType":"matrix","result":[
		{"metric":{"region":"us"},"values":[[1795640400,"1.5"],[1795640460,"NaN"],[1795640520,"+Inf"],[1795640700,"2"]]},
		{"metric":{"__name__":"a\u001b[31m","region":"eu"},"values":[[1795640400,"10"],[1795640460,"20"],[1795640520,"15"],[1795640580,"12"],[1795640700,"30.25"]]}]},
		"warnings":["mind\u001b[2J the gap"]}`,
	"histograms": `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1795640400,{"count":"7","sum":"9","buckets":[]}]]}]}}`,
	"vector":     `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"region":"us"},"value":[1795644030,"1.5"]},{"metric":{"region":"eu"},"value":[1795644030,"2"]}]}}`,
	"scalar":     `{"status":"success","data":{"resultType":"scalar","result":[1795644030,"42"]}}`,
	"string":     `{"status":"success","data":{"resultType":"string","result":[1795644030,"a\u001bb"]}}`,
	"nothing":    `{"status":"success","data":{"resultType":"matrix","result":[]}}`,
}

func TestGoldenPromQL(t *testing.T) {
	for _, c := range []struct {
		name, answer, args, warns string
		d                         display
	}{
		{"promql-table", "matrix", "--from 1795640430 --to 1795640730 --step 1m", "mind\\x1b[2J the gap", plain},
		{"promql-spark", "matrix", "--from 1795640400 --to 1795640700 --step 60 --spark", "mind", plain},
		{"promql-csv", "matrix", "--from 1795640400 --to 1795640700 --step 1m --format csv --tz America/New_York", "mind", plain},
		{"promql-chart", "matrix", "--from 1795640400 --to 1795640700 --step 1m --format chart", "mind", coloured},
		{"promql-histograms", "histograms", "--from 1795640400 --to 1795640700 --step 1m", "histogram_quantile", plain},
		{"promql-vector", "vector", "--instant", "", plain},
		{"promql-vector-csv", "vector", "--instant --format csv", "", plain},
		{"promql-scalar", "scalar", "--instant", "", plain},
		{"promql-string", "string", "--instant", "", plain},
		{"promql-nothing", "nothing", "--format chart", "", plain},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, map[string]string{"/api/v1/query_range": promAnswers[c.answer], "/api/v1/query": promAnswers[c.answer]})
			out, errs, err := f.ask(t, c.d, append(strings.Fields(c.args), "sum by (region) (rate(a[1m]))")...)
			require.NoError(t, err)
			require.Contains(t, errs, c.warns)
			require.Equal(t, c.warns == "", errs == "", errs)
			require.NotContains(t, errs, "\x1b")
			requireHarmless(t, c.d, out)
			requireGolden(t, c.name, out)
		})
	}
}

// TestJSONIsUnchanged: what the server answered, byte by byte.
func TestJSONIsUnchanged(t *testing.T) {
	f := newFake(t, map[string]string{"/api/query": "{\"a\": \"\x1b\" }\n", "/api/v1/query_range": promAnswers["matrix"]})
	out, _, err := f.ask(t, coloured, "a", "--format", "json")
	require.NoError(t, err)
	require.Equal(t, "{\"a\": \"\x1b\" }\n", out)
	out, _, err = f.ask(t, coloured, "a + b", "--format", "json")
	require.NoError(t, err)
	require.Equal(t, promAnswers["matrix"], out)
}

// TestParameters: what is asked for is what the command line says, and nothing else.
func TestParameters(t *testing.T) {
	for _, c := range []struct {
		args []string
		path string
		want string
	}{
		{[]string{"m"}, "/api/query", "from=-1h&limit=100&metric=m&step=auto&to=now"},
		{[]string{"m", "--by", "*", "--top", "3", "--shift", "1d", "--fill", "zero", "--tz", "Europe/Berlin", "--cumulative", "--step", "1mo"}, "/api/query",
			"by=*&cumulative=1&fill=zero&from=-1h&limit=100&metric=m&shift=1d&step=1mo&to=now&top=3&tz=Europe/Berlin"},
		{[]string{"m", "--without", "a,b", "--without", "c", "--bottom", "2", "--kind", "gauge", "--fn", "avg", "--filter", "x=~a.*|b", "--limit", "7"}, "/api/query",
			"bottom=2&filter=x=~a.*|b&fn=avg&from=-1h&kind=gauge&limit=7&metric=m&step=auto&to=now&without=a,b&without=c"},
		{[]string{"--expr", "a / b", "--with", "a.metric=errors", "--with", "a.filter=code:5=0", "--with", "a.filter=x", "--with", "b.metric=requests"}, "/api/query",
			"a.filter=code:5=0&a.filter=x&a.metric=errors&b.metric=requests&expr=a / b&from=-1h&limit=100&step=auto&to=now"},
		{[]string{"rate(m[1m])"}, "/api/v1/query_range", "end=1795644030&query=rate(m[1m])&start=1795640430&step=15"},
		{[]string{"m", "--promql", "--from", "-1d", "--to", "-1h", "--step", "1h"}, "/api/v1/query_range", "end=1795640400&query=m&start=1795557600&step=3600"},
		{[]string{"{x='y'}", "--instant", "--to", "-1h"}, "/api/v1/query", "query={x='y'}&time=1795640430"},
		{[]string{"a b", "--native"}, "/api/query", "from=-1h&limit=100&metric=a b&step=auto&to=now"},
		{[]string{"m.*"}, "/api/query", "from=-1h&limit=100&metric=m.*&step=auto&to=now"},
	} {
		f := newFake(t, map[string]string{"/api/query": "{}", "/api/v1/query_range": "{}", "/api/v1/query": "{}"})
		_, _, err := f.ask(t, plain, append(slices.Clone(c.args), "--format", "json")...)
		require.NoError(t, err)
		require.Len(t, f.asked, 1)
		require.Equal(t, c.path, f.asked[0].Path, "%q", c.args)
		got, err := url.QueryUnescape(f.asked[0].RawQuery)
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}

// TestAnswersThatAreNone: what is not an answer is a sentence, not a panic.
func TestAnswersThatAreNone(t *testing.T) {
	for _, c := range []struct{ text, body, says string }{
		{"m", "<html>", "is not Cairn's"},
		{"m", `{}`, "no range of time"},
		{"m", `{"times":[1],"to":1e18,"step":1}`, "no range of time"},
		{"m", `{"times":[1],"to":2,"step":0}`, "no range of time"},
		{"m", `{"times":[1,1],"to":2,"step":1}`, "not ascending"},
		{"m", `{"times":[1,3],"to":2,"step":1}`, "not ascending"},
		{"m", `{"times":[1,2],"to":3,"step":1,"series":[{"values":[1]}]}`, "another number of values"},
		{"m", `{"times":[1],"to":2,"step":1,"series":[{"tags":{"a":3},"values":[1]}]}`, "is not Cairn's"},
		{"a + b", "{}", "has no data"},
		{"a + b", `{"status":"success","data":{"resultType":"soup","result":[]}}`, `its result is a "soup"`},
		{"a + b", `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1]]}]}}`, "not a time and a value"},
		{"a + b", `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,[]]]}]}}`, "is not Cairn's"},
	} {
		f := newFake(t, map[string]string{"/api/query": c.body, "/api/v1/query_range": c.body})
		for _, format := range []string{"table", "csv", "chart"} {
			out, _, err := f.ask(t, plain, c.text, "--format", format)
			require.ErrorContains(t, err, c.says, c.body)
			require.Empty(t, out)
			var usage usageError
			require.False(t, errors.As(err, &usage))
		}
	}
	for _, odd := range []string{
		`{"times":[5],"to":9,"step":1}`, `{"times":[5],"to":9,"series":[{"values":[null]}],"step":1}`,
		`{"times":[5],"to":9,"series":[{"values":[1e308]},{"values":[-1e308]}],"step":1}`,
		`{"times":[5],"to":9,"series":[{"values":[1e300]},{"values":[-1e300]}],"step":1}`,
		`{"times":[5,6],"to":9,"series":[{"values":[1e15,1000000000000000.125]},{"values":[1e15,null]}],"step":1}`,
		`{"times":[5,253402300799],"to":253402300799,"fn":"count","series":[{"values":[1e-300,0]},{"values":[0,1e-310]}],"step":1}`,
	} {
		f := newFake(t, map[string]string{"/api/query": odd})
		for _, d := range []display{plain, coloured, {terminal: true, width: 1, height: 1}} {
			for _, format := range []string{"table", "csv", "chart"} {
				_, _, err := f.ask(t, d, "m", "--format", format)
				require.NoError(t, err, odd)
			}
		}
	}
}

// TestQueryThatIsStopped: a person who gives up is told so, and so is one whom the server
// lets wait.
func TestQueryThatIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan struct{}, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer srv.Close()
	go func() {
		<-asked
		stop()
	}()
	var out bytes.Buffer
	f := queryFlags{text: "m", server: srv.URL, format: "table", timeout: time.Hour}
	err := runQuery(ctx, display{out: &out}, &out, &f, clock.NewSystem())
	require.EqualError(t, err, "query: interrupted")
	f.timeout = time.Millisecond
	err = runQuery(t.Context(), display{out: &out}, &out, &f, clock.NewSystem())
	require.EqualError(t, err, "query: "+srv.URL+" has not answered within 1ms; see --timeout")
	require.Empty(t, out.String())
}
