package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"

	"cairn/internal/bucket"
	"cairn/internal/metric"
	"cairn/query"
)

const base = 1_700_006_400 // a midnight

func at(sec float64) Query {
	t := time.UnixMilli(int64(sec * 1000))
	return Query{Start: t, End: t}
}

// run answers q with a text, and its warnings.
func (w *world) run(t testing.TB, text string, q Query) (answer string, warnings []string) {
	t.Helper()
	q.Text = text
	res, err := w.engine().Run(context.Background(), q)
	require.NoError(t, err, text)
	defer res.Close()
	b, err := res.Append([]byte("{"))
	require.NoError(t, err, text)
	b = append(b, '}')
	require.True(t, json.Valid(b), "%s: %s", text, b)
	_, after, _ := strings.Cut(string(b), `"result":`)
	return strings.TrimSuffix(after, "}"), res.Warnings()
}

// kinds is a world with ten minutes of every kind of metric.
func kinds() *world {
	w := newWorld(base + 7200)
	for i := range 600 {
		sec := metric.UnixSec(base + i)
		w.store.count("api.requests", tagset("code", "500", "region", "eu"), sec, 1)
		w.store.count("api.requests", tagset("code", "200", "region", "eu", "canary", ""), sec, 2)
		w.store.gauge("heap", tagset(), sec, float64(i))
		w.store.observe("lat", tagset("region", "eu"), sec, float64(i+1))
		w.store.insert("users", tagset(), sec, uint64(i%50)*0x9e3779b97f4a7c15)
	}
	return w
}

func TestAnswers(t *testing.T) {
	w := kinds()
	for _, c := range []struct{ query, want string }{
		{`api_requests`, `[{"metric":{"__name__":"api.requests","canary":"true","code":"200","region":"eu"},"value":[1700007000,"120"]},{"metric":{"__name__":"api.requests","code":"500","region":"eu"},"value":[1700007000,"60"]}]`},
		{`{"api.requests", code="500"}`, `[{"metric":{"__name__":"api.requests","code":"500","region":"eu"},"value":[1700007000,"60"]}]`},
		{`api.requests{canary=""}`, `[{"metric":{"__name__":"api.requests","code":"500","region":"eu"},"value":[1700007000,"60"]}]`},
		{`increase({"api.requests"}[5m])`, `[{"metric":{"canary":"true","code":"200","region":"eu"},"value":[1700007000,"600"]},{"metric":{"code":"500","region":"eu"},"value":[1700007000,"300"]}]`},
		{`sum(rate(api_requests[5m]))`, `[{"metric":{},"value":[1700007000,"3"]}]`},
		{`sum by (code, canary) (increase(api_requests[1m]))`, `[{"metric":{"canary":"true","code":"200"},"value":[1700007000,"120"]},{"metric":{"code":"500"},"value":[1700007000,"60"]}]`},
		{`sum without (code, canary) (api_requests)`, `[{"metric":{"region":"eu"},"value":[1700007000,"180"]}]`},
		{`increase(api_requests{code="500"}[5m:1m])`, `[{"metric":{"code":"500","region":"eu"},"value":[1700007000,"300"]}]`},
		{`rate(api_requests{code="500"}[5m:1m])`, `[{"metric":{"code":"500","region":"eu"},"value":[1700007000,"1"]}]`},
		{`irate(api_requests{code="200"}[1m])`, `[{"metric":{"canary":"true","code":"200","region":"eu"},"value":[1700007000,"2"]}]`},
		{`resets(api_requests{code="200"}[1m])`, `[{"metric":{"canary":"true","code":"200","region":"eu"},"value":[1700007000,"0"]}]`},
		{`changes(api_requests{code="200"}[1m])`, `[{"metric":{"canary":"true","code":"200","region":"eu"},"value":[1700007000,"0"]}]`},
		{`count_over_time(api_requests{code="200"}[1m])`, `[{"metric":{"canary":"true","code":"200","region":"eu"},"value":[1700007000,"60"]}]`},
		{`max_over_time(api_requests{code="200"}[1m])`, `[{"metric":{"canary":"true","code":"200","region":"eu"},"value":[1700007000,"2"]}]`},
		{`api_requests{code="500"}[2s]`, `[{"metric":{"__name__":"api.requests","code":"500","region":"eu"},"values":[[1700006999,"1"],[1700007000,"1"]]}]`},
		{`timestamp(api_requests{code="500"})`, `[{"metric":{"code":"500","region":"eu"},"value":[1700007000,"1700007000"]}]`},
		{`absent(api_requests{code="404"})`, `[{"metric":{"code":"404"},"value":[1700007000,"1"]}]`},
		{`absent(increase(api_requests{code="404"}[1m]))`, `[{"metric":{},"value":[1700007000,"1"]}]`},
		{`absent_over_time(api_requests{code="404"}[1m])`, `[{"metric":{"code":"404"},"value":[1700007000,"1"]}]`},
		{`label_replace(rate(api_requests{code="500"}[1m]), "name", "$1", "__name__", "(.*)")`, `[{"metric":{"code":"500","name":"api.requests","region":"eu"},"value":[1700007000,"1"]}]`},
		{`heap`, `[{"metric":{"__name__":"heap"},"value":[1700007000,"599"]}]`},
		{`heap offset 5m`, `[{"metric":{"__name__":"heap"},"value":[1700007000,"299"]}]`},
		{`heap @ 1700006460`, `[{"metric":{"__name__":"heap"},"value":[1700007000,"59"]}]`},
		{`avg_over_time(heap[1m])`, `[{"metric":{},"value":[1700007000,"569.5"]}]`},
		{`last_over_time(heap[1m])`, `[{"metric":{"__name__":"heap"},"value":[1700007000,"599"]}]`},
		{`rate(heap[1m])`, `[{"metric":{},"value":[1700007000,"1"]}]`},
		{`lat_count`, `[{"metric":{"__name__":"lat_count","region":"eu"},"value":[1700007000,"60"]}]`},
		{`increase(lat_sum[1m])`, `[{"metric":{"region":"eu"},"value":[1700007000,"34230"]}]`},
		{`lat_bucket{le="+Inf"}`, `[{"metric":{"__name__":"lat_bucket","le":"+Inf","region":"eu"},"value":[1700007000,"60"]}]`},
		{`sum by (le) (increase(lat_bucket{le="+Inf"}[5m]))`, `[{"metric":{"le":"+Inf"},"value":[1700007000,"300"]}]`},
		{`histogram_count(lat)`, `[{"metric":{"region":"eu"},"value":[1700007000,"60"]}]`},
		{`histogram_avg(rate(lat[1m]))`, `[{"metric":{"region":"eu"},"value":[1700007000,"570.5"]}]`},
		{`users`, `[{"metric":{"__name__":"users"},"value":[1700007000,"50"]}]`},
		{`increase(users[5m])`, `[{"metric":{},"value":[1700007000,"50"]}]`},
		{`count({__name__=~".+", region="eu", __name__!~".*_bucket"})`, `[{"metric":{},"value":[1700007000,"5"]}]`},
	} {
		got, warnings := w.run(t, c.query, at(base+600))
		require.Equal(t, c.want, got, c.query)
		require.Empty(t, warnings, c.query)
	}
}

// TestNames: which names find what.
func TestNames(t *testing.T) {
	w := newWorld(base + 100)
	sec := metric.UnixSec(base + 99)
	w.store.count("a.b", "", sec, 1)
	w.store.count("a-b", "", sec, 2)
	w.store.count("x", "", sec, 4)
	w.store.gauge("x", "", sec, 8)        // a counter goes first
	w.store.count("d_count", "", sec, 16) // goes before a part of d
	w.store.observe("d", "", sec, 32)
	w.open.count("new", "", sec, 64) // not stored yet
	for query, want := range map[string]string{
		`a.b`:                                  `a.b=1`,
		`a_b`:                                  `a-b=2 a.b=1`,
		`{__name__=~"a_.*"}`:                   `a-b=2 a.b=1`,
		`{__name__=~"a[.]b"}`:                  `a.b=1`,
		`{__name__=~"a.b",__name__!="a_b"}`:    ``,
		`{__name__=~"a.b",__name__!="a.b"}`:    `a-b=2`,
		`x`:                                    `x=4`,
		`d_count`:                              `d_count=16`,
		`d_sum`:                                `d_sum=32`,
		`{__name__="d_sum",__name__=~"d.*"}`:   `d_sum=32`,
		`{__name__="d_sum",__name__!~"d.*"}`:   ``,
		`new`:                                  `new=64`,
		`{__name__=~"a.b|new|d_count|x|none"}`: `a-b=2 a.b=1 d_count=16 new=64 x=4`,
	} {
		res, err := w.engine().Run(context.Background(), func() Query { q := at(base + 100); q.Text = query; return q }())
		require.NoError(t, err, query)
		var got []string
		for _, s := range res.value.(promql.Vector) {
			got = append(got, fmt.Sprintf("%s=%g", s.Metric.Get("__name__"), s.F))
		}
		require.Equal(t, want, strings.Join(got, " "), query)
	}
}

// TestLabelsThatLookAlike: tagsets whose labels are the same are one series, and their sum.
func TestLabelsThatLookAlike(t *testing.T) {
	w := newWorld(base + 100)
	sec := metric.UnixSec(base + 99)
	w.store.count("m", tagset("a", "b,c"), sec, 1)
	w.store.count("m", tagset("a", "b", "a", "c"), sec, 2)
	w.store.count("m", tagset("a", ""), sec, 4)
	w.open.count("m", tagset("a", "true"), sec, 8)
	for query, want := range map[string]string{
		`m`:                            `[{"metric":{"__name__":"m","a":"b,c"},"value":[1700006500,"3"]},{"metric":{"__name__":"m","a":"true"},"value":[1700006500,"12"]}]`,
		`sum by (a) (increase(m[1s]))`: `[{"metric":{"a":"b,c"},"value":[1700006500,"3"]},{"metric":{"a":"true"},"value":[1700006500,"12"]}]`,
		`m{a="b,c"}`:                   `[{"metric":{"__name__":"m","a":"b,c"},"value":[1700006500,"3"]}]`,
		`m{a="b"}`:                     `[{"metric":{"__name__":"m","a":"b,c"},"value":[1700006500,"2"]}]`,
	} {
		got, _ := w.run(t, query, at(base+100))
		require.Equal(t, want, got, query)
	}
}

// TestOpenBuckets: what has not ended is in no sample, neither now nor in the future.
func TestOpenBuckets(t *testing.T) {
	w := newWorld(base + 90)
	for i := range 90 {
		w.open.count("m", "", metric.UnixSec(base+i), 1)
	}
	w.open.count("m", "", base+90, 100) // the second that is not over
	w.open.count("m", "", base+95, 100) // a sender whose clock is ahead
	q := Query{Start: time.Unix(base+60, 0), End: time.Unix(base+120, 0), Step: 30 * time.Second}
	for query, want := range map[string]string{
		`m`:                      `[[1700006460,"30"],[1700006490,"30"]]`,
		`increase(m[30s])`:       `[[1700006460,"30"],[1700006490,"30"]]`,
		`sum(increase(m[1m]))`:   `[[1700006460,"60"],[1700006490,"60"],[1700006520,"30"]]`,
		`count_over_time(m[1m])`: `[[1700006460,"60"],[1700006490,"60"],[1700006520,"30"]]`,
	} {
		got, _ := w.run(t, query, q)
		require.Contains(t, got, `"values":`+want, query)
	}
	got, _ := w.run(t, `increase(m[10s])`, at(base+90.9))
	require.Contains(t, got, `"10"`)
}

// TestNothingIsCarriedOn: a step without an event has no sample, whatever was before.
func TestNothingIsCarriedOn(t *testing.T) {
	w := newWorld(base + 1000)
	w.store.count("m", "", base, 5)
	w.store.observe("d", "", base, 5)
	q := Query{Start: time.Unix(base+60, 0), End: time.Unix(base+180, 0), Step: time.Minute}
	for query, want := range map[string]string{
		`m`: `"values":[[1700006460,"5"]]`, `increase(m[1m])`: `"values":[[1700006460,"5"]]`, `d_count`: `"values":[[1700006460,"1"]]`,
		`histogram_count(d)`: `"values":[[1700006460,"1"]]`, `increase(m[2m])`: `"values":[[1700006460,"5"],[1700006520,"5"]]`,
	} {
		got, _ := w.run(t, query, q)
		require.Contains(t, got, want, query)
	}
}

// TestTiers: which tier is read, and what is said where none is left that fits.
func TestTiers(t *testing.T) {
	const day = 86400
	w := newWorld(base + 60*day)
	for i := range 7200 {
		w.store.count("m", "", metric.UnixSec(base+50*day+i), 1) // ten days ago: minutes and hours are left
		w.store.gauge("g", "", metric.UnixSec(base+50*day+i), float64(i))
	}
	for _, c := range []struct {
		query   string
		from    int64 // after base+50 days
		step    int64
		want    string
		warning string
	}{
		{`increase(m[5m])`, 3600, 60, `"300"`, ``},
		{`sum(rate(m[1h]))`, 3600, 3600, `"1"`, ``},
		{`increase(m[90s])`, 3600, 60, `"120"`, `only 1m buckets are left of a part of the range, so windows of 90s are 2m long`},
		{`rate(m[10s])`, 3600, 60, `"1"`, `windows of 10s are 1m long`},
		{`sum(rate(m[10s]))`, 3600, 60, `"1"`, `windows of 10s are 1m long`},
		{`increase(m[1m])`, 3607, 60, `"60"`, `so windows end at whole ones`},
		{`m`, 3600, 15, `"60"`, `windows of 15s are 1m long`},
		{`count_over_time(m[5m])`, 3600, 60, `"5"`, `only 1m buckets are left`},
		{`irate(m[5m])`, 3600, 60, `"1"`, `only 1m buckets are left`},
		{`g`, 3600, 60, `"3599"`, ``},
		{`max_over_time(g[5m])`, 3600, 60, `"3599"`, ``},
	} {
		start := time.Unix(base+50*day+c.from, 0)
		q := Query{Start: start, End: start.Add(time.Duration(c.step) * time.Second), Step: time.Duration(c.step) * time.Second}
		got, warnings := w.run(t, c.query, q)
		require.Contains(t, got, c.want, c.query)
		if c.warning == "" {
			require.Empty(t, warnings, c.query)
			continue
		}
		require.Contains(t, strings.Join(warnings, "\n"), c.warning, c.query)
	}
	// Of a year ago, nothing is left.
	_, warnings := w.run(t, `increase(m[1h])`, at(base-400*day))
	require.Contains(t, strings.Join(warnings, "\n"), "what is kept begins at")
}

// TestQuantilesAgree: those of PromQL are within the sketch's accuracy of Cairn's own.
func TestQuantilesAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := newWorld(base + 1000)
	all := &bucket.Distribution{}
	for i := range 20_000 {
		v := math.Exp(3 + rng.NormFloat64())
		if i%10 == 0 {
			v = -v
		}
		all.Observe(v, 1)
		w.store.observe("lat", tagset("host", fmt.Sprint(i%3)), metric.UnixSec(base+i%600), v)
	}
	for _, q := range []float64{0.01, 0.05, 0.25, 0.5, 0.9, 0.99, 0.999} {
		want := all.Quantile(q)
		for _, form := range []string{
			`histogram_quantile(%g, sum by (le) (rate(lat_bucket[10m])))`, `histogram_quantile(%g, sum(rate(lat[10m])))`,
			`histogram_quantile(%g, sum by (le) (lat_bucket))`, `histogram_quantile(%g, sum by (le) (sum_over_time(lat_bucket[10m:1m])))`,
		} {
			text := fmt.Sprintf(form, q)
			res, err := w.engine().Run(context.Background(), Query{Text: text, Start: time.Unix(base+600, 0), End: time.Unix(base+600, 0)})
			require.NoError(t, err)
			v := res.value.(promql.Vector)
			require.Len(t, v, 1, text)
			if !strings.Contains(form, "(lat_bucket)") { // that is the last minute only
				require.InEpsilon(t, want, v[0].F, 0.011, text)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	w := kinds()
	run := func(x *query.Executor, ctx context.Context, text string) error {
		e := w.engine()
		e.exec = x
		_, err := e.Run(ctx, func() Query { q := at(base + 600); q.Text = text; return q }())
		return err
	}
	var bad *BadQuery
	for text, says := range map[string]string{
		`sum(`: "parse error", `{}`: "at least one non-empty matcher", `info(heap)`: "unknown function", `rate(heap[5m] anchored)`: "no meaning here",
		`api_requests{code=~"` + strings.Repeat("a", 5000) + `"}`: "4096 are allowed", strings.Repeat("1+", MaxQuery): "are allowed",
		`api_requests{code!~"(.?){1000}(.?){1000}(.?){1000}"}`: "2000 are allowed", `{__name__=~"(.?){1000}(.?){1000}(.?){1000}"}`: "2000 are allowed",
		`label_replace(heap, "a", "b", "c", "(.?){1000}(.?){1000}(.?){1000}")`: "2000 are allowed",
		strings.Repeat("(", 2_000) + "1" + strings.Repeat(")", 2_000):          "levels deep", strings.Repeat("1+", 2_000) + "1": "levels deep",
	} {
		err := run(w.executor(), context.Background(), text)
		require.ErrorAs(t, err, &bad, text)
		require.ErrorContains(t, err, says)
	}
	var exec *ExecutionError
	require.ErrorAs(t, run(w.executor(), context.Background(), `api_requests * on () heap`), &exec)
	var limit *query.LimitError
	x := w.executor()
	x.Limits.Series = 1
	require.ErrorAs(t, run(x, context.Background(), `api_requests`), &limit)
	x = w.executor()
	x.Limits.Samples = 100
	require.ErrorAs(t, run(x, context.Background(), `count_over_time(api_requests[5m])`), &limit)
	require.ErrorAs(t, run(w.executor(), context.Background(), `max_over_time(vector(1)[300d:1ms])`), &bad)
	many := newWorld(base)
	for i := range 2000 {
		many.store.count(fmt.Sprintf("metric.with.a.long.name.%d", i), tagset(), base, 1)
	}
	require.ErrorAs(t, run(many.executor(), context.Background(), `count({__name__=~"(?:.?){900}x"})`), &limit)
	require.ErrorContains(t, limit, "too slow for the names of 2000 metrics")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var canceled *CanceledError
	require.ErrorAs(t, run(w.executor(), ctx, `api_requests`), &canceled)
	require.ErrorIs(t, canceled, context.Canceled)
	ctx, cancel = context.WithTimeout(context.Background(), 0)
	defer cancel()
	var timeout *TimeoutError
	require.ErrorAs(t, run(w.executor(), ctx, `api_requests`), &timeout)
	require.ErrorAs(t, timeout, &limit)
	var param *query.ParamError
	require.ErrorAs(t, bad, &param)
	require.ErrorAs(t, exec, &param)
	// What is wrong inside is not the query's.
	err := evaluation(context.Background(), promql.ErrStorage{Err: errors.New("BUG: the engine selects what was not read")})
	require.NotErrorAs(t, err, &param)
	err = evaluation(context.Background(), fmt.Errorf("unexpected error: %w", runtime.Error(&runtime.TypeAssertionError{})))
	require.NotErrorAs(t, err, &param)
}

// TestManyAtOnce: queries share an engine, and nothing of one is in another's answer.
func TestManyAtOnce(t *testing.T) {
	w := kinds()
	e := w.engine()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				q := at(base + 600)
				q.Text = fmt.Sprintf("sum(increase(api_requests[1m])) + %d", i*100+j)
				res, err := e.Run(context.Background(), q)
				if err != nil {
					t.Error(err)
					return
				}
				if got := res.value.(promql.Vector)[0].F; got != float64(180+i*100+j) {
					t.Errorf("%s is %g", q.Text, got)
				}
				res.Close()
			}
		})
	}
	wg.Wait()
	require.Empty(t, e.trees.trees, "trees that nobody has taken")
}

// FuzzPromQL: whatever is asked ends without a panic, and is JSON if it is an answer.
func FuzzPromQL(f *testing.F) {
	for _, text := range []string{
		`sum by (code) (rate(api_requests[5m] offset 1m)) / on () group_left () heap @ start()`, `histogram_quantile(0.9, lat_bucket)`,
		`max_over_time(increase(users[1m])[5m:10s]) or -users`, `topk(2, {__name__=~".+"})`, `absent(lat{a="b"}) unless vector(time())`,
		`resets(lat[1m]) + irate(lat[1m]) + delta(lat[1m])`, `api_requests[1m] `, `predict_linear(heap[5m], 60) > bool 1`, `sum(sum_over_time((api_requests)[5m:]))`,
		`quantile_over_time(0.5, heap[1m + step()])`, `count_values("x", {"api.requests"})`, `sort_by_label(api_requests, "code")`, `limitk(1, api_requests @ end() offset -1m)`,
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	w := kinds()
	x := w.executor()
	x.Limits = query.Limits{Series: 1000, Samples: 100_000, Time: time.Second}
	e := w.engine()
	e.exec = x
	f.Fuzz(func(t *testing.T, text string, ranged bool) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		q := Query{Text: text, Start: time.Unix(base+540, 0), End: time.Unix(base+540, 0)}
		if ranged {
			q.End, q.Step = q.Start.Add(time.Minute), 20*time.Second
		}
		res, err := e.Run(ctx, q)
		if err != nil {
			require.NotContains(t, err.Error(), "BUG")
			require.NotContains(t, err.Error(), "unexpected error")
			return
		}
		b, err := res.Append([]byte("{"))
		require.NoError(t, err, text)
		b = append(b, '}')
		require.True(t, json.Valid(b), "%s: %s", text, b)
		res.Close()
		if text, err := e.Format(text); err == nil {
			_, err = e.Tree(text)
			require.NoError(t, err, text)
		}
	})
}
