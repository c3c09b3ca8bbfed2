package flush

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
	"cairn/tsdb"
)

// occurrence is one event that was counted.
type occurrence struct {
	series metric.Series
	sec    metric.UnixSec
	at     metric.UnixMilli
	value  float64
}

// asked is a world of events, what was made of them, and who is asked.
type asked struct {
	*rig
	rng    *rand.Rand
	fs     vfs.FS
	events []occurrence
	cached *query.Executor
}

// resolveTags reads a kind's number and tags: 1a=x,b=y.
func resolveTags(name, rest []byte, _ metric.UnixSec) (agg.Resolution, metric.Reason) {
	s := metric.Series{ID: metric.ID{Name: string(name), Kind: metric.Kind(rest[0] - '0')}, Tags: readTags(string(rest[1:]))}
	return agg.Resolution{Series: s, Weight: agg.Weight{Num: 1, Den: 1}}, metric.OK
}

func readTags(text string) metric.Tagset {
	var tags []metric.Tag
	for pair := range strings.SplitSeq(text, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			tags = append(tags, metric.Tag{Key: k, Value: v})
		}
	}
	return metric.NewTagset(tags)
}

func (w *asked) reopen() {
	w.agg = agg.New(agg.Limits{Series: 1000, SeriesPerMetric: 1000, Metrics: 100}, slices.Repeat([]agg.Resolver{resolveTags}, 2), w.rng)
	var err error
	w.store, err = tsdb.Open("data", tsdb.Options{FS: w.fs, Cache: 1 << 20})
	require.NoError(w.t, err)
	w.pump = New(w.agg, w.store, Options{Clock: w.clock, Grace: 10 * time.Second, Interval: 10 * time.Second, Log: slog.New(slog.DiscardHandler)})
	w.cached = &query.Executor{Acquire: w.pump.View, CacheBytes: 1 << 20}
}

// names and their kinds; ab is a counter and a gauge.
var askedNames = map[string][]metric.Kind{"a": {metric.Counter}, "aa": {metric.Counter}, "ab": {metric.Counter, metric.Gauge}, "d": {metric.Distribution}, "s": {metric.Set}}

func pick[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

func (w *asked) send() {
	rng := w.rng
	name := pick(rng, "a", "a", "aa", "ab", "d", "s")
	kind := pick(rng, askedNames[name]...)
	var tags []string
	for _, k := range []string{"x", "y"} {
		for range rng.IntN(3) {
			tags = append(tags, k+"="+pick(rng, "1", "2", "12", ""))
		}
	}
	text := strings.Join(tags, ",")
	at := metric.MilliOf(w.clock.Now())
	sec := at.Sec()
	if rng.IntN(4) == 0 { // some are late
		sec -= metric.UnixSec(rng.IntN(pick(rng, 5, 30, 4000)))
	}
	e := occurrence{metric.Series{ID: metric.ID{Name: name, Kind: kind}, Tags: readTags(text)}, sec, at, float64(rng.IntN(9))}
	bits := math.Float64bits(e.value)
	if kind == metric.Set {
		bits = bucket.HashMember(fmt.Append(nil, e.value))
	}
	rest := fmt.Sprintf("%d%s", kind, text)
	s := w.agg.Stripe(rng.IntN(2))
	s.Lock()
	s.Add([]byte(name+rest), []agg.Raw{{Bits: bits, Sec: sec, NameLen: uint16(len(name)), Rest: uint32(len(name)), RestLen: uint16(len(rest))}}, at)
	s.Unlock()
	w.events = append(w.events, e)
}

// step lets something happen.
func (w *asked) step() {
	for range w.rng.IntN(20) {
		w.send()
		w.clock.Advance(time.Duration(w.rng.IntN(400)) * time.Millisecond)
	}
	switch w.rng.IntN(24) {
	case 0:
		w.clock.Advance(time.Duration(w.rng.IntN(8)) * time.Hour)
		require.NoError(w.t, w.pump.Expire())
	case 1:
		_, err := w.pump.Collect(context.Background())
		require.NoError(w.t, err)
	case 2:
		w.close()
		w.reopen()
	case 3:
		filter, err := query.ParseFilter("x:12")
		require.NoError(w.t, err)
		id := metric.ID{Name: pick(w.rng, "a", "d"), Kind: 0}
		_, err = w.pump.Delete(context.Background(), id, matcher.List{filter}, false)
		require.NoError(w.t, err)
		w.events = slices.DeleteFunc(w.events, func(e occurrence) bool {
			return e.series.ID.Name == id.Name && hasTag(e.series.Tags, "x", "12")
		})
	case 4:
		w.clock.Advance(time.Minute)
	}
	if w.rng.IntN(2) == 0 {
		require.NoError(w.t, w.pump.Flush(metric.SecOf(w.clock.Now())-metric.UnixSec(w.rng.IntN(12))))
	}
}

func hasTag(ts metric.Tagset, key string, values ...string) bool {
	for t := range ts.All() {
		if t.Key == key && slices.Contains(values, t.Value) {
			return true
		}
	}
	return false
}

func hasKey(ts metric.Tagset, key string) bool {
	return slices.ContainsFunc(ts.Tags(), func(t metric.Tag) bool { return t.Key == key })
}

// askedFilters are filters with what they mean.
var askedFilters = map[string]func(metric.Tagset) bool{
	"x:1":    func(ts metric.Tagset) bool { return hasTag(ts, "x", "1") },
	"!x:1":   func(ts metric.Tagset) bool { return !hasTag(ts, "x", "1") },
	"x:1*":   func(ts metric.Tagset) bool { return hasTag(ts, "x", "1", "12") },
	"y":      func(ts metric.Tagset) bool { return hasTag(ts, "y", "") },
	"y:*":    func(ts metric.Tagset) bool { return hasKey(ts, "y") },
	"y=~1|2": func(ts metric.Tagset) bool { return hasTag(ts, "y", "1", "2") },
	"y!=2":   func(ts metric.Tagset) bool { return !hasTag(ts, "y", "2") },
	"x=":     func(ts metric.Tagset) bool { return hasTag(ts, "x", "") || !hasKey(ts, "x") },
	"x!~.*2": func(ts metric.Tagset) bool { return !hasTag(ts, "x", "2", "12") },
}

// draw makes the parameters of a request.
func (w *asked) draw() map[string][]string {
	rng := w.rng
	p := map[string][]string{"metric": {pick(rng, "a", "a", "aa", "ab", "d", "s", "a*", "*", "nope")}}
	now := int64(metric.SecOf(w.clock.Now()))
	back := int64(rng.IntN(pick(rng, 60, 4000, 100_000)) + 1)
	p["from"] = []string{strconv.FormatInt(now-back, 10)}
	if rng.IntN(3) == 0 {
		p["to"] = []string{strconv.FormatInt(now-int64(rng.IntN(int(back))), 10)}
	}
	p["step"] = []string{pick(rng, "auto", "1s", "10s", "15s", "1m", "7m", "1h", "1d")}
	if back > 10_000 && len(p["step"][0]) < 3 {
		p["step"] = []string{"1m"}
	}
	w.drawOperand(p)
	if rng.IntN(5) == 0 {
		p[pick(rng, "top", "bottom")] = []string{pick(rng, "1", "2")}
	}
	if rng.IntN(5) == 0 {
		p["fill"] = []string{"zero"}
	}
	if rng.IntN(8) == 0 {
		p["cumulative"] = []string{"1"}
		p["fn"] = []string{pick(rng, "count", "sum", "uniques")}
	}
	return p
}

func (w *asked) drawOperand(p map[string][]string) {
	rng := w.rng
	switch rng.IntN(6) {
	case 0:
		p["by"] = []string{pick(rng, "x", "x,y", "y,nope")}
	case 1:
		p["by"] = []string{"*"}
	case 2:
		p["without"] = []string{"x"}
	case 3:
		p["by"] = []string{"__name__", "y"}
	}
	for range rng.IntN(3) {
		f := pick(rng, "x:1", "!x:1", "x:1*", "y", "y:*", "y=~1|2", "y!=2", "x=", "x!~.*2")
		p["filter"] = append(p["filter"], f)
	}
	if rng.IntN(3) == 0 {
		p["fn"] = []string{pick(rng, "count", "rate", "sum", "avg", "min", "max", "last", "uniques", "p50", "p99")}
	}
	if rng.IntN(5) == 0 {
		p["shift"] = []string{pick(rng, "10s", "1m", "-1h", "1d")}
	}
}

func TestRandomQueries(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("CAIRN_QUERY_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("CAIRN_QUERY_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	answered, refused := 0, 0
	for range 25 {
		fs := vfs.NewMem()
		w := &asked{rig: newRig(t, fs, 2), rng: rng, fs: fs}
		w.close()
		w.reopen()
		again := []map[string][]string{w.draw(), w.draw(), w.draw(), w.draw()}
		for range 40 {
			w.step()
			for range 2 {
				p := pick(rng, again...)
				if rng.IntN(2) == 0 {
					p = w.draw()
				}
				if w.ask(p) {
					answered++
				} else {
					refused++
				}
			}
		}
		w.close()
	}
	require.Greater(t, answered, 1000)
	t.Logf("%d answered, %d refused", answered, refused)
}

// ask compares the answers, with what was kept and without, with the oracle's.
func (w *asked) ask(p map[string][]string) (answered bool) {
	var names []string
	for n := range p {
		names = append(names, n)
	}
	r, err := query.ParseRequest(names, func(n string) []string { return p[n] }, w.clock.Now())
	if err != nil {
		require.ErrorContains(w.t, err, "are allowed", "%v", p)
		return false
	}
	plain, err := (&query.Executor{Acquire: w.pump.View}).Run(context.Background(), r)
	if err != nil {
		var bad *query.ParamError
		require.ErrorAs(w.t, err, &bad)
		return false // a function that the kind does not have
	}
	kept, err := w.cached.Run(context.Background(), r)
	require.NoError(w.t, err)
	require.Equal(w.t, fmt.Sprint(plain), fmt.Sprint(kept), "%v", p)
	w.compare(p, &r, plain)
	return true
}

// compare works the answer out of single events.
func (w *asked) compare(p map[string][]string, r *query.Request, got *query.Result) {
	shift := metric.UnixSec(r.Shift)
	match := func(name string) bool {
		switch r.Metric {
		case "a*":
			return strings.HasPrefix(name, "a")
		case "*":
			return true
		}
		return name == r.Metric
	}
	v, err := w.pump.View()
	require.NoError(w.t, err)
	held := v.Held(metric.ID{Name: r.Metric, Kind: got.Kind})
	since, sealed := held.From(got.Tier), v.SealedUntil
	v.Close()
	type cell struct {
		group string
		step  int
	}
	cells, whole, all := map[cell]bucket.Bucket{}, map[string]bucket.Bucket{}, bucketFor(got.Kind)
	matched := map[metric.Series]bool{}
	for _, e := range w.events {
		at := e.sec + shift
		if !match(e.series.ID.Name) || e.series.ID.Kind != got.Kind || at < got.From || at >= got.To || e.sec < since ||
			slices.ContainsFunc(p["filter"], func(f string) bool { return !askedFilters[f](e.series.Tags) }) {
			continue
		}
		matched[e.series] = true
		g, i := groupOf(r, e.series), got.Place(at)
		if cells[cell{g, i}] == nil {
			cells[cell{g, i}] = bucketFor(got.Kind)
		}
		if whole[g] == nil {
			whole[g] = bucketFor(got.Kind)
		}
		for _, b := range []bucket.Bucket{cells[cell{g, i}], whole[g], all} {
			observe(b, e)
		}
	}
	about := fmt.Sprintf("%v: %v", p, got)
	require.Equal(w.t, len(matched), got.SeriesMatched, about)
	if len(matched) > 0 {
		require.InDelta(w.t, read(all, got.Kind, totalFn(r, got)), got.Total, 1e-9, about)
	}
	// The groups that are shown, and those that are folded.
	var order []string
	for g := range whole {
		order = append(order, g)
	}
	total := func(g string) float64 { return read(whole[g], got.Kind, totalFn(r, got)) }
	slices.SortFunc(order, func(a, b string) int {
		d := total(b) - total(a)
		if r.Bottom > 0 {
			d = -d
		}
		return int(math.Copysign(1, d)) * boolInt(d != 0)
	})
	shown := len(order)
	if n := r.Top + r.Bottom; n > 0 && n < shown {
		shown = n
		require.True(w.t, got.Series[n].Other, about)
	}
	require.Len(w.t, got.Series, shown+boolInt(shown < len(order)), about)
	left := slices.Clone(order)
	for i, s := range got.Series {
		if s.Other {
			continue
		}
		g := textOf(s.Tags)
		require.Contains(w.t, left, g, about)
		left = slices.DeleteFunc(left, func(o string) bool { return o == g })
		require.InDelta(w.t, total(order[i]), s.Total, 1e-9, about)
		w.compareValues(r, got, s.Values, since, sealed, func(step int) bucket.Bucket { return cells[cell{g, step}] }, about)
	}
	if shown < len(order) {
		w.compareValues(r, got, got.Series[shown].Values, since, sealed, func(step int) bucket.Bucket {
			var sum bucket.Bucket
			for _, g := range left {
				if b := cells[cell{g, step}]; b != nil {
					if sum == nil {
						sum = bucketFor(got.Kind)
					}
					sum.Merge(b)
				}
			}
			return sum
		}, about)
	}
}

func (w *asked) compareValues(r *query.Request, got *query.Result, values []float64, since, sealed metric.UnixSec, cell func(step int) bucket.Bucket, about string) {
	require.Len(w.t, values, got.Len())
	var sum bucket.Bucket
	for i, v := range values {
		begins, ends := got.Start(i)-metric.UnixSec(r.Shift), got.Start(i+1)-metric.UnixSec(r.Shift)
		b := cell(i)
		if r.Cumulative {
			if b != nil {
				if sum == nil {
					sum = bucketFor(got.Kind)
				}
				sum.Merge(b)
			}
			if b != nil || ends <= sealed {
				b = sum
			}
		}
		switch {
		case b != nil:
			want := read(b, got.Kind, got.Fn)
			if got.Fn == query.Rate {
				want /= float64(got.Width(i))
			}
			require.InDelta(w.t, want, v, 1e-9, "step %d of %s", i, about)
		case r.Zero && begins >= since && ends <= sealed:
			require.Zero(w.t, v, "step %d of %s", i, about)
		default:
			require.True(w.t, math.IsNaN(v), "step %d of %s", i, about)
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// bucketFor is bucket.New, where a counter is a distribution of which only the sum counts.
func bucketFor(k metric.Kind) bucket.Bucket {
	if k == metric.Counter {
		return bucket.New(metric.Gauge)
	}
	return bucket.New(k)
}

func observe(b bucket.Bucket, e occurrence) {
	switch b := b.(type) {
	case *bucket.Gauge:
		b.Observe(e.value, e.sec, e.at)
	case *bucket.Distribution:
		b.Observe(e.value, 1)
	case *bucket.Set:
		b.Insert(bucket.HashMember(fmt.Append(nil, e.value)))
	}
}

func totalFn(r *query.Request, got *query.Result) query.Fn {
	if got.Fn == query.Rate {
		return query.Count
	}
	return got.Fn
}

func read(b bucket.Bucket, k metric.Kind, fn query.Fn) float64 {
	switch b := b.(type) {
	case *bucket.Set:
		return b.Estimate()
	case *bucket.Distribution:
		switch fn {
		case "p50":
			return b.Quantile(0.5)
		case "p95":
			return b.Quantile(0.95)
		case "p99":
			return b.Quantile(0.99)
		case query.Count, query.Rate:
			return b.Count
		case query.Sum:
			return b.Sum
		case query.Avg:
			return b.Sum / b.Count
		case query.Min:
			return b.Min
		}
		return b.Max
	case *bucket.Gauge:
		switch {
		case k == metric.Counter:
			return b.Sum
		case fn == query.Count:
			return b.Count
		}
		switch fn {
		case query.Last:
			return b.Last
		case query.Avg:
			return b.Sum / b.Count
		case query.Min:
			return b.Min
		case query.Max:
			return b.Max
		}
		return b.Sum
	}
	panic("BUG: no such bucket")
}

func groupOf(r *query.Request, s metric.Series) string {
	var out []string
	if r.Group.Name {
		out = append(out, "__name__="+s.ID.Name)
	}
	for t := range s.Tags.All() {
		in := slices.Contains(r.Group.Keys, t.Key)
		if r.Group.Mode == query.EachTagset || in == (r.Group.Mode == query.ByKeys) {
			out = append(out, t.Key+"="+t.Value)
		}
	}
	return strings.Join(out, ";")
}

func textOf(tags []query.GroupTag) string {
	var out []string
	for _, t := range tags {
		for _, v := range t.Values {
			out = append(out, t.Key+"="+v)
		}
	}
	return strings.Join(out, ";")
}
