package query

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// fakeSource holds buckets of one second, as the open buckets do, or folds them
// to the tier that is asked for, as the store does.
type fakeSource struct {
	stored bool
	before func() // called before a scan
	series map[metric.Tagset]map[metric.UnixSec]float64
}

var testID = metric.ID{Name: "m", Kind: metric.Counter}

func (f *fakeSource) Select(_ context.Context, id metric.ID, match matcher.List) (Selection, error) {
	s := &fakeSelection{f: f}
	if id != testID {
		return s, nil
	}
	for ts := range f.series {
		if match.Match(ts) {
			s.tags = append(s.tags, ts)
		}
	}
	slices.Sort(s.tags)
	return s, nil
}

func (f *fakeSource) IDs() []metric.ID {
	if len(f.series) == 0 {
		return nil
	}
	return []metric.ID{testID}
}

func (f *fakeSource) TagCounts(_ metric.ID, visit func(metric.Tag, int)) {
	for ts := range f.series {
		for t := range ts.All() {
			visit(t, 1)
		}
	}
}

func (f *fakeSource) Part(metric.ID, int, int) Selection { panic("BUG: a query takes all that match") }

func (f *fakeSource) Kinds(name string) []metric.Kind {
	if name != testID.Name || len(f.series) == 0 {
		return nil
	}
	return []metric.Kind{testID.Kind}
}

func (f *fakeSource) Metrics() []MetricInfo {
	return []MetricInfo{{ID: testID, Series: len(f.series), LastSeen: 7}}
}

type fakeSelection struct {
	f    *fakeSource
	tags []metric.Tagset
}

func (s *fakeSelection) Tags() []metric.Tagset { return s.tags }

func (s *fakeSelection) Slice(i, j int) Selection { return &fakeSelection{s.f, s.tags[i:j]} }

func (s *fakeSelection) Last() metric.UnixSec { return metric.Never }

func (s *fakeSelection) Scan(_ context.Context, t metric.Tier, from, to metric.UnixSec, yield Yield) error {
	if s.f.before != nil {
		s.f.before()
	}
	if from > to {
		panic("BUG: a range that ends before it begins")
	}
	for i, ts := range s.tags {
		for sec, v := range s.f.series[ts] {
			width := int64(1)
			if s.f.stored {
				width = t.Width()
			}
			if b := sec.Floor(width); b >= from && b < to {
				if err := yield(i, b, width, []uint32{0}, []float64{v}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *fakeSelection) ScanBuckets(context.Context, metric.Tier, metric.UnixSec, metric.UnixSec, YieldBucket) error {
	panic("BUG: a counter's chunks hold no buckets")
}

func executor(open, store *fakeSource) *Executor {
	return &Executor{Acquire: func() (*View, error) {
		return &View{Open: []Source{open}, OpenDone: func() {}, Store: store, SealedUntil: 42, Close: func() {}}, nil
	}}
}

func parse(t require.TestingT, params map[string][]string, now int64) (Request, error) {
	var names []string
	for n := range params {
		names = append(names, n)
	}
	slices.Sort(names)
	return ParseRequest(names, func(n string) []string { return params[n] }, time.Unix(now, 0))
}

// TestAgainstOracle runs random requests over random data, part of it in each
// source, against sums made by hand.
func TestAgainstOracle(t *testing.T) {
	values := []string{"a", "b", "ab", ""}
	rapid.Check(t, func(t *rapid.T) {
		sources := []*fakeSource{{series: map[metric.Tagset]map[metric.UnixSec]float64{}}, {stored: true, series: map[metric.Tagset]map[metric.UnixSec]float64{}}}
		all := map[metric.Tagset]map[metric.UnixSec]float64{}
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			var tags []metric.Tag
			for range rapid.IntRange(0, 3).Draw(t, "tags") {
				tags = append(tags, metric.Tag{Key: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "k"), Value: rapid.SampledFrom(values).Draw(t, "v")})
			}
			ts := metric.NewTagset(tags)
			sec := metric.UnixSec(7100 + rapid.IntRange(0, 300).Draw(t, "sec"))
			v := float64(rapid.IntRange(0, 9).Draw(t, "value"))
			src := sources[rapid.IntRange(0, 1).Draw(t, "source")].series
			for _, m := range []map[metric.Tagset]map[metric.UnixSec]float64{src, all} {
				if m[ts] == nil {
					m[ts] = map[metric.UnixSec]float64{}
				}
				m[ts][sec] += v
			}
		}
		by := rapid.SampledFrom([][]string{nil, {"x"}, {"x,y"}, {"y", "z"}}).Draw(t, "by")
		filter := rapid.SampledFrom([]string{"", "x:a", "!x:a", "x:a|b", "x:*", "x:a*", "!y:*b", "x", "x=a", "x=", "y!=b", "x=~a.*", "y!~a|b"}).Draw(t, "filter")
		step := rapid.SampledFrom([]string{"1s", "7s", "10s", "15s", "30s", "1m", "90s", "1h"}).Draw(t, "step")
		params := map[string][]string{"metric": {"m"}, "by": by, "from": {"7130"}, "to": {"7300"}, "step": {step}}
		if filter != "" {
			params["filter"] = []string{filter}
		}
		r, err := parse(t, params, 9000)
		require.NoError(t, err)
		got, err := executor(sources[0], sources[1]).Run(context.Background(), r)
		require.NoError(t, err)

		want := map[string][]float64{}
		total, matched := 0.0, 0
		for ts, secs := range all {
			if filter != "" && !slowFilter(filter, ts) {
				continue
			}
			hit := false
			for sec, v := range secs {
				if sec < r.From || sec >= r.To {
					continue
				}
				hit = true
				g := slowGroup(by, ts)
				if want[g] == nil {
					want[g] = slices.Repeat([]float64{math.NaN()}, int(int64(r.To-r.From)/r.Step))
				}
				p := int64(sec-r.From) / r.Step
				if math.IsNaN(want[g][p]) {
					want[g][p] = 0
				}
				want[g][p] += v
				total += v
			}
			if hit {
				matched++
			}
		}
		require.Equal(t, total, got.Total)
		require.Equal(t, matched, got.SeriesMatched)
		require.Len(t, got.Series, len(want))
		for i, s := range got.Series {
			g := groupText(s.Tags)
			require.Equal(t, fmt.Sprint(want[g]), fmt.Sprint(s.Values), "group %s", g)
			if i > 0 {
				require.GreaterOrEqual(t, got.Series[i-1].Total, s.Total)
			}
		}
		require.Zero(t, r.Step%got.Tier.Width())
	})
}

// slowFilter knows the filters of the test above, each written out.
func slowFilter(f string, ts metric.Tagset) bool {
	any := func(key string, ok func(string) bool) bool {
		return slices.ContainsFunc(ts.Tags(), func(t metric.Tag) bool { return t.Key == key && ok(t.Value) })
	}
	switch f {
	case "x:a":
		return any("x", func(v string) bool { return v == "a" })
	case "!x:a":
		return !any("x", func(v string) bool { return v == "a" })
	case "x:a|b":
		return any("x", func(v string) bool { return v == "a" || v == "b" })
	case "x:*":
		return any("x", func(string) bool { return true })
	case "x:a*":
		return any("x", func(v string) bool { return strings.HasPrefix(v, "a") })
	case "!y:*b":
		return !any("y", func(v string) bool { return strings.HasSuffix(v, "b") })
	case "x":
		return any("x", func(v string) bool { return v == "" })
	case "x=a":
		return any("x", func(v string) bool { return v == "a" })
	case "x=":
		return any("x", func(v string) bool { return v == "" }) || !any("x", func(string) bool { return true })
	case "y!=b":
		return !any("y", func(v string) bool { return v == "b" })
	case "x=~a.*":
		return any("x", func(v string) bool { return strings.HasPrefix(v, "a") })
	case "y!~a|b":
		return !any("y", func(v string) bool { return v == "a" || v == "b" })
	}
	panic("BUG: " + f)
}

func slowGroup(by []string, ts metric.Tagset) string {
	var out []string
	for t := range ts.All() {
		if slices.Contains(strings.Split(strings.Join(by, ","), ","), t.Key) {
			out = append(out, t.Key+"="+t.Value)
		}
	}
	return strings.Join(out, ";")
}

func groupText(tags []GroupTag) string {
	var out []string
	for _, t := range tags {
		for _, v := range t.Values {
			out = append(out, t.Key+"="+v)
		}
	}
	return strings.Join(out, ";")
}

func TestTotalIsOverAllGroups(t *testing.T) {
	src := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{}}
	for i := range 10 {
		ts := metric.NewTagset([]metric.Tag{{Key: "i", Value: fmt.Sprint(i)}})
		src.series[ts] = map[metric.UnixSec]float64{100: float64(i)}
	}
	r, err := parse(t, map[string][]string{"metric": {"m"}, "by": {"i"}, "limit": {"3"}, "from": {"90"}, "to": {"110"}, "step": {"10s"}, "fn": {"rate"}}, 200)
	require.NoError(t, err)
	got, err := executor(&fakeSource{}, src).Run(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, 45.0, got.Total)
	require.True(t, got.Truncated)
	require.Equal(t, 10, got.SeriesMatched)
	require.Len(t, got.Series, 3)
	top := got.Series[0]
	require.Equal(t, []GroupTag{{"i", []string{"9"}}}, top.Tags)
	require.Equal(t, 9.0, top.Total, "a count, whatever the function is")
	require.Equal(t, 0.9, top.Max)
	require.Equal(t, 0.9, top.Last)
	require.True(t, math.IsNaN(top.Values[0]))
	require.EqualValues(t, 42, got.SealedUntil)
}

// TestFlushesNeedNotWaitForTheDisk: what is open is read first, and given free
// before the store is asked.
func TestFlushesNeedNotWaitForTheDisk(t *testing.T) {
	free := false
	data := map[metric.Tagset]map[metric.UnixSec]float64{"": {100: 1}}
	open := &fakeSource{series: data, before: func() { require.False(t, free) }}
	store := &fakeSource{series: data, before: func() { require.True(t, free) }}
	x := &Executor{Acquire: func() (*View, error) {
		return &View{Open: []Source{open}, OpenDone: func() { free = true }, Store: store, Close: func() {}}, nil
	}}
	r, err := parse(t, map[string][]string{"metric": {"m"}, "from": {"0"}, "to": {"200"}}, 200)
	require.NoError(t, err)
	got, err := x.Run(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, 2.0, got.Total)
}

func TestUnknownMetricIsAWarning(t *testing.T) {
	r, err := parse(t, map[string][]string{"metric": {"nope"}}, 9000)
	require.NoError(t, err)
	got, err := executor(&fakeSource{}, &fakeSource{}).Run(context.Background(), r)
	require.NoError(t, err)
	require.Empty(t, got.Series)
	require.Len(t, got.Warnings, 1)
	require.Contains(t, got.Warnings[0], `"nope"`)
}

func TestTooManyGroupsIsAnError(t *testing.T) {
	src := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{}}
	for i := range maxCells/MaxPoints + 1 {
		ts := metric.NewTagset([]metric.Tag{{Key: "i", Value: fmt.Sprint(i)}})
		src.series[ts] = map[metric.UnixSec]float64{100: 1}
	}
	r, err := parse(t, map[string][]string{"metric": {"m"}, "by": {"i"}, "from": {"0"}, "to": {fmt.Sprint(MaxPoints)}, "step": {"1s"}}, 200)
	require.NoError(t, err)
	_, err = executor(&fakeSource{}, src).Run(context.Background(), r)
	var l *LimitError
	require.ErrorAs(t, err, &l)
	require.Contains(t, l.Sentence, "group by fewer tags")
}

func TestRunEndsWithItsContext(t *testing.T) {
	src := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{"": {100: 1}}}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := parse(t, map[string][]string{"metric": {"m"}, "from": {"0"}, "to": {"200"}}, 200)
	require.NoError(t, err)
	_, err = executor(&fakeSource{}, src).Run(ctx, r)
	require.ErrorIs(t, err, context.Canceled)
	gone := errors.New("gone")
	_, err = (&Executor{Acquire: func() (*View, error) { return nil, gone }}).Run(ctx, r)
	require.ErrorIs(t, err, gone)
}

func TestCatalog(t *testing.T) {
	open := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{
		metric.NewTagset([]metric.Tag{{Key: "env", Value: "stage"}, {Key: "canary"}}): {}, // the store does not have it
	}}
	store := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{
		metric.NewTagset([]metric.Tag{{Key: "env", Value: "prod"}, {Key: "canary"}}): {},
		metric.NewTagset([]metric.Tag{{Key: "env", Value: "dev"}}):                   {},
		metric.NewTagset([]metric.Tag{{Key: "env", Value: "prod"}}):                  {},
	}}
	tags, err := executor(open, store).Tags("m", 0)
	require.NoError(t, err)
	require.Equal(t, []TagKey{
		{"canary", []TagValue{{"", 2}}},
		{"env", []TagValue{{"prod", 2}, {"dev", 1}, {"stage", 1}}},
	}, tags)
	metrics, err := executor(open, store).Metrics()
	require.NoError(t, err)
	require.Equal(t, []MetricInfo{{ID: testID, Series: 4, LastSeen: 7}}, metrics)
}

func TestFoldedTagsetsAreSaid(t *testing.T) {
	src := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{metric.OverflowTags: {7200: 1}, "": {7200: 1}}}
	for from, want := range map[metric.UnixSec]int{7200: 1, 7210: 0} {
		res, err := executor(src, &fakeSource{}).Run(context.Background(), Request{Operand: Operand{Metric: "m", Fn: Count}, From: from, To: from + 10, Step: 10, Limit: 1})
		require.NoError(t, err)
		require.Len(t, res.Warnings, want)
	}
}

func randomText(rng *rand.Rand) string {
	b := make([]byte, rng.IntN(6))
	for i := range b {
		b[i] = `ab*|\:!`[rng.IntN(7)]
	}
	return string(b)
}
