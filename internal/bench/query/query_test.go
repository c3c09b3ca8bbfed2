//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cairn/internal/bench/child"
	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/tsdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is no full hour, so that there is something behind the last one.
const noon = metric.UnixSec(1_700_000_000)

func TestParse(t *testing.T) {
	s, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "all10s", "all1m", "day", "month", "exact", "dashboard"}, s.run)
	_, err = parse([]string{"-run", "q", "-rounds", "0", "-secs", "0", "-days", "1", "-wide", "0", "-rate", "-1"}, io.Discard)
	for _, part := range []string{`no query "q"`, "-rounds", "-secs", "-days", "-wide", "-rate"} {
		require.ErrorContains(t, err, part)
	}
}

// TestTheLastHourIsTheDataSets compares with what ../shared/bench/dataset says of itself
// with -series 300.
func TestTheLastHourIsTheDataSets(t *testing.T) {
	d := newDataset(noon, 2, 1)
	n, sum := 0, 0.0
	for i := range 300 {
		for _, s := range shopSeries(i, d.spans()).sums {
			if s.Sec >= d.End-hour && s.Sec < d.End {
				n, sum = n+1, sum+s.Value
			}
		}
	}
	require.Equal(t, 777062, n)
	require.EqualValues(t, 109305220, sum)
}

func TestDataAreTheSameEachTime(t *testing.T) {
	d := newDataset(noon, 3, 10)
	require.Equal(t, 20, d.Shop)
	d.Shop = 3
	require.Equal(t, noon.Floor(hour), d.End)
	require.Equal(t, noon.Floor(10), d.Until)
	spans := d.spans()
	require.Equal(t, d.End-3*day, spans[0].from)
	require.Equal(t, d.Until, spans[len(spans)-1].to)
	for i := range spans[1:] {
		require.Equal(t, spans[i].to, spans[i+1].from)
	}
	require.Equal(t, shopSeries(7, spans), shopSeries(7, spans))
	require.NotEqual(t, shopSeries(7, spans).sums, shopSeries(17, spans).sums)
	sums := map[metric.UnixSec]float64{} // of the spans
	for _, s := range shopSeries(0, spans).sums {
		i := slices.IndexFunc(spans, func(p span) bool { return s.Sec >= p.from && s.Sec < p.to })
		sums[spans[i].from] += s.Value
	}
	for _, p := range spans {
		require.InEpsilon(t, 100, sums[p.from]/float64(p.to-p.from), 0.05, "series 0 counts as much a second in all spans")
	}
	require.NotEqual(t, shopSeries(0, spans).sums[0].Value, shopSeries(0, spans).sums[1].Value)
	require.Equal(t, d.wideSeries(3), d.wideSeries(3))

	all := 0
	names := map[string]bool{}
	require.NoError(t, d.groups(func(group []series) error {
		for i := range group {
			all++
			names[fmt.Sprint(group[i].name, group[i].tags)] = true
			last := metric.UnixSec(-1)
			for _, s := range group[i].sums {
				if s.Sec <= last || s.Value <= 0 {
					return fmt.Errorf("series %v has %g at %d, behind %d", group[i].tags, s.Value, s.Sec, last)
				}
				last = s.Sec
			}
			if last >= d.Until {
				return fmt.Errorf("series %v has a value at %d", group[i].tags, last)
			}
		}
		return nil
	}))
	require.Equal(t, 3*perMetric+10, all)
	require.Len(t, names, all, "no two series are the same")
	require.Len(t, d.wideSeries(d.asked()).sums, hour)
	require.Len(t, d.wideSeries(d.asked()+1).sums, hour/wideEvery)
}

func TestVictoriaLine(t *testing.T) {
	var w bytes.Buffer
	appendVictoria(&w, series{"shop.metric_07", []metric.Tag{{Key: "env", Value: "prod"}}, []metric.Sum{{Sec: 100, Value: 1150}, {Sec: 110, Value: 2}}})
	require.Equal(t, `{"metric":{"__name__":"shop_metric_07","env":"prod"},"values":[1150,2],"timestamps":[101000,111000]}`+"\n", w.String())
}

func TestFillCairn(t *testing.T) {
	d := dataset{End: noon.Floor(hour), Until: noon.Floor(hour) + 20, Days: 2, Shop: 2, Wide: 4}
	kept, err := metric.ParseRetention(retention)
	require.NoError(t, err)
	require.Greater(t, kept.Of(metric.Tier1s), int64(35*day), "the longest that -days allows")
	want := 0.0
	for i := perMetric; i < 2*perMetric; i++ {
		for _, s := range shopSeries(i, d.spans()).sums {
			want += s.Value
		}
	}
	for _, compact := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "cairn")
		require.NoError(t, fillCairn(t.Context(), dir, &d, compact))
		store, err := tsdb.Open(dir, tsdb.Options{Retention: metric.Policy{Default: kept}})
		require.NoError(t, err)
		require.Equal(t, d.Until, store.Cursor().Watermark)
		held := store.HeldOf(metricName(0))
		snap := store.Snapshot()
		for _, tier := range metric.Tiers {
			require.True(t, held.Holds(tier, d.End-2*day), tier)
			total := 0.0
			sel := store.Select(metric.ID{Name: metricName(1), Kind: metric.Counter}, nil)
			require.Len(t, sel, perMetric)
			require.NoError(t, snap.Scan(t.Context(), sel, tier, d.End-2*day, d.End+hour, func(_ int, _ metric.UnixSec, _ []uint32, sums []float64) error {
				for _, v := range sums {
					total += v
				}
				return nil
			}))
			require.Equal(t, want, total, tier)
		}
		require.NoError(t, snap.Close())
		require.NoError(t, store.Close())
	}
}

func TestWithin(t *testing.T) {
	s := series{sums: []metric.Sum{{Sec: 1}, {Sec: 2}, {Sec: 3}}}
	require.Equal(t, []metric.Sum{{Sec: 2}}, s.within(span{from: 2, to: 3}).sums)
	require.Empty(t, s.within(span{from: 4, to: 9}).sums)
	d := newDataset(noon, 2, 1)
	old, late := d.flushed()
	require.Equal(t, old.to, late.from)
	require.Equal(t, d.spans()[0].from, old.from)
	require.Equal(t, d.Until, late.to)
}

func TestPaths(t *testing.T) {
	d := dataset{End: 1_000_800, Days: 30, Wide: 100_000}
	params := func(path string) url.Values {
		u, err := url.Parse(path)
		require.NoError(t, err)
		return u.Query()
	}
	q := questions(&d)
	require.Equal(t, url.Values{"metric": {"shop.metric_00"}, "from": {"997200"}, "to": {"1000800"}, "step": {"10s"}}, params(q[0].nativePath()))
	require.Equal(t, url.Values{"query": {`sum(increase({"shop.metric_00"}[10s]))`}, "start": {"997210"}, "end": {"1000800"}, "step": {"10"}}, params(q[0].promPath()))
	require.Equal(t, []string{`sum by (region) (sum_over_time({__name__=~"shop_metric_.*"}[60s]))`}, params(q[2].victoriaPath())["query"])
	require.Equal(t, []string{"1"}, params(q[2].victoriaPath())["nocache"])
	require.Equal(t, []string{"region"}, params(q[2].nativePath())["by"])
	require.Equal(t, []string{`increase({"shop.visits",id="u050000"}[1s])`}, params(q[5].promPath())["query"])
	require.Equal(t, []string{"id:u050000"}, params(q[5].nativePath())["filter"])
	for _, q := range q {
		require.Zero(t, int64(q.to-q.from)%q.step, q.name)
		require.Zero(t, int64(q.to)%q.step, q.name)
	}
}

func TestParsedAnswersAreComparable(t *testing.T) {
	q := question{by: "region", step: 10}
	native, err := q.parseNative([]byte(`{"times":[100,110,120],"series":[{"tags":{"region":"eu"},"values":[1,null,3]},{"tags":{"region":"us"},"values":[0,5,null]}]}`))
	require.NoError(t, err)
	ranged, err := q.parseRange([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"region":"us"},"values":[[120,"5"]]},{"metric":{"region":"eu"},"values":[[110,"1"],[120,"0"],[130,"3"]]}]}}`))
	require.NoError(t, err)
	require.NoError(t, native.same(ranged))
	require.NoError(t, ranged.same(native))
	require.EqualValues(t, 9, native.total())

	for body, want := range map[string]string{
		`[[120,"5.001"]]`:         "has 5.001 at 110 and not 5",
		`[[110,"5"]]`:             "has 0 at 110",
		`[[120,"5"],[130,"0.1"]]`: "has 2 values and not 1",
	} {
		other, err := q.parseRange([]byte(`{"status":"success","data":{"result":[{"metric":{"region":"us"},"values":` + body + `},{"metric":{"region":"eu"},"values":[[110,"1"],[130,"3"]]}]}}`))
		require.NoError(t, err)
		require.ErrorContains(t, other.same(native), want)
	}
	require.ErrorContains(t, answer{}.same(native), "0 series and not 2")

	var unknown *unknownError
	_, err = q.parseNative([]byte(`{"times":[100],"series":[],"warnings":["no counter named x"]}`))
	require.ErrorAs(t, err, &unknown)
	require.ErrorContains(t, err, "no counter named x")
	_, err = q.parseRange([]byte(`{"status":"success","data":{"result":[]}}`))
	require.ErrorAs(t, err, &unknown)
	for _, bad := range []string{"", `{"status":"error"}`, `{"status":"success","data":{"result":[{"values":[[1,2]]}]}}`} {
		_, err = q.parseRange([]byte(bad))
		require.Error(t, err, bad)
	}
	for _, bad := range []string{"", `{"times":[1,2],"series":[{"values":[1]}]}`, `{"times":[1],"series":[{"values":[1]}],"truncated":true}`} {
		_, err = q.parseNative([]byte(bad))
		require.Error(t, err, bad)
	}
}

// canned answers by what a path begins with, and lets time pass.
type canned struct {
	answers map[string]string
	takes   map[string]time.Duration
	clock   *clock.Manual
	fetched []string
}

func (c *canned) find(path string) string {
	for prefix := range c.answers {
		if strings.HasPrefix(path, prefix) {
			return prefix
		}
	}
	return ""
}

func (c *canned) Get(_ context.Context, path string) ([]byte, error) {
	if p := c.find(path); p != "" {
		return []byte(c.answers[p]), nil
	}
	return nil, &child.StatusError{Code: 404, Body: `{"error":"there is no such | thing"}`}
}

func (c *canned) Fetch(_ context.Context, path string) error {
	p := c.find(path)
	if p == "" {
		return errors.New("it was asked for what it had no answer to")
	}
	c.fetched = append(c.fetched, p)
	c.clock.Advance(c.takes[p])
	return nil
}

const (
	native = "/api/query?"
	ranged = "/api/v1/query_range?"
)

func matrix(v string) string {
	return `{"status":"success","data":{"result":[{"metric":{},"values":[[10,"` + v + `"]]}]}}`
}

func cannedServers() (b *bench, q question, cairn, victoria *canned) {
	c := clock.NewManual(time.Unix(0, 0))
	b = &bench{settings: settings{rounds: 5}, clock: c, out: io.Discard}
	q = question{what: "a query", to: 10, step: 10, bar: 2 * time.Millisecond}
	cairn = &canned{
		answers: map[string]string{native: `{"times":[0],"series":[{"tags":{},"values":[7]}]}`, ranged: matrix("7")},
		takes:   map[string]time.Duration{native: time.Millisecond, ranged: 2200 * time.Microsecond}, clock: c,
	}
	victoria = &canned{answers: map[string]string{ranged: matrix("7")}, takes: map[string]time.Duration{ranged: 5 * time.Millisecond}, clock: c}
	return b, q, cairn, victoria
}

func TestAskTimesAndJudges(t *testing.T) {
	b, q, cairn, victoria := cannedServers()
	m, err := b.ask(t.Context(), q, cairn, victoria)
	require.NoError(t, err)
	require.Len(t, m.native.times, 5, "what warms up does not count")
	require.Len(t, victoria.fetched, 5+warmUp)
	rows := m.rows()
	require.Equal(t, row{"a query", "1.00 ms", "1.00 ms", "5.00 ms", "5.00 ms", "0.20", "≤ 2 ms, ratio ≤ 0.5", "OK", ""}, rows[0])
	require.Equal(t, row{"the same, PromQL", "2.20 ms", "2.20 ms", "", "", "0.44", "≤ 2 × native, ratio ≤ 0.5", "**MISSED**", "× 2.20 of native"}, rows[1])

	// Each of the bars can be missed alone.
	cairn.takes[native], cairn.takes[ranged] = 2100*time.Microsecond, 2100*time.Microsecond
	m, err = b.ask(t.Context(), q, cairn, victoria)
	require.NoError(t, err)
	require.Equal(t, "**MISSED**", m.rows()[0].ok)
	require.Equal(t, "OK", m.rows()[1].ok)
	cairn.takes[native], cairn.takes[ranged] = time.Millisecond, 2100*time.Microsecond
	victoria.takes[ranged] = 1900 * time.Microsecond
	m, err = b.ask(t.Context(), q, cairn, victoria)
	require.NoError(t, err)
	require.Equal(t, "**MISSED**", m.rows()[0].ok, "more than half")
	require.Equal(t, "**MISSED**", m.rows()[1].ok)
}

func TestAskTellsWhatIsNotThere(t *testing.T) {
	b, q, cairn, victoria := cannedServers()
	delete(cairn.answers, ranged)
	m, err := b.ask(t.Context(), q, cairn, victoria)
	require.NoError(t, err)
	require.Equal(t, "OK", m.rows()[0].ok)
	require.Equal(t, row{"the same, PromQL", "n/a", "", "", "", "", "≤ 2 × native", "", `404: there is no such \| thing`}, m.rows()[1])

	cairn.answers = map[string]string{ranged: matrix("7")}
	m, err = b.ask(t.Context(), q, cairn, victoria)
	require.NoError(t, err)
	require.Equal(t, "n/a", m.rows()[0].cairn)
	require.Equal(t, "", m.rows()[1].ok, "there is nothing to compare with")

	b, q, cairn, _ = cannedServers()
	m, err = b.ask(t.Context(), q, cairn, nil)
	require.NoError(t, err)
	require.Equal(t, row{"a query", "1.00 ms", "1.00 ms", "n/a", "", "", "≤ 2 ms", "OK", "VictoriaMetrics: not asked"}, m.rows()[0])
}

func TestAskDoesNotTimeWrongAnswers(t *testing.T) {
	b, q, cairn, victoria := cannedServers()
	cairn.answers[native] = `{"times":[0],"series":[{"tags":{},"values":[8]}]}`
	m, err := b.ask(t.Context(), q, cairn, victoria)
	var wrong wrongError
	require.ErrorAs(t, err, &wrong)
	require.ErrorContains(t, err, "native differs from VictoriaMetrics")
	require.NotContains(t, err.Error(), "PromQL")
	require.Empty(t, m.native.times)
	require.Contains(t, m.rows()[0].note, "WRONG: ")
	require.Equal(t, "", m.rows()[0].ok)
}

func TestMarkdown(t *testing.T) {
	b, q, cairn, victoria := cannedServers()
	m, err := b.ask(t.Context(), q, cairn, victoria)
	require.NoError(t, err)
	b.data = dataset{Until: 0}
	r := reloads{panels: []time.Duration{time.Millisecond, 60 * time.Millisecond}, all: []time.Duration{60 * time.Millisecond}}
	dash := b.dashboardRow(&r, load{rate: 5e6, packets: 9, dropped: 1}, 1e7, []string{"a", "b"}, nil)
	require.Equal(t, "**MISSED**", dash.ok)
	require.Contains(t, dash.note, "1 of 9 datagrams dropped; 10.00 M events/s")
	partly := b.dashboardRow(&r, load{}, 0, []string{"a"}, []string{"`x`: 404"})
	require.Equal(t, "", partly.ok, "a part of a dashboard is none")
	require.Contains(t, partly.note, "1 more panels have no answer, such as `x`: 404")
	text := markdown(append(m.rows(), dash), "-run one", time.Unix(0, 0).UTC())
	require.Contains(t, text, "go run ./internal/bench/query -run one`), 1970-01-01")
	lines := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") {
			lines++
			require.Equal(t, 10, strings.Count(line, "|"), line)
		}
	}
	require.Equal(t, 5, lines)
}

func TestSentence(t *testing.T) {
	require.Equal(t, "no\\|t", sentence(`{"error":"no|t","param":"by"}`))
	require.Equal(t, "plain text", sentence("plain\n text\n"))
	require.LessOrEqual(t, len(sentence(strings.Repeat("ü", 500))), maxSentence+len("…"))
}

func TestManifest(t *testing.T) {
	var m manifest
	text, err := json.Marshal(manifest{dataFormat, dataset{1, 2, 3, 4, 5}, true, true})
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &m))
	require.Equal(t, dataset{1, 2, 3, 4, 5}, m.Dataset)
	_, ok := readManifest(filepath.Join(t.TempDir(), "data.json"))
	require.False(t, ok)
}
