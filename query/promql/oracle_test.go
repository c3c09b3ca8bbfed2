package promql

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

// An event of the oracle is what was sent, in plain form.
type event struct {
	id    metric.ID
	tags  metric.Tagset
	sec   int64
	value float64
}

// vector is what an expression has at one time, by labels as text.
type vector map[string]float64

// expression is a query's text, with what it is by the events alone.
type expression struct {
	text string
	at   func(ms int64) vector
}

type oracle struct {
	t      *rapid.T
	events []event
	step   int64 // ms; of what is evaluated around a selector
	unit   int64 // s: what ranges and offsets are multiples of
}

func shown(name string, tags []metric.Tag) string {
	values := map[string][]string{}
	for _, t := range tags {
		values[t.Key] = append(values[t.Key], valueOf(t.Value))
	}
	if name != "" {
		values[model.MetricNameLabel] = []string{name}
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "%s=%s;", k, strings.Join(values[k], ","))
	}
	return b.String()
}

// window returns the events of a metric whose buckets end in (ms-d, ms], by series.
func (o *oracle) window(id metric.ID, pass func(metric.Tagset) bool, ms, d int64) map[metric.Tagset][]event {
	out := map[metric.Tagset][]event{}
	for _, e := range o.events {
		if end := (e.sec + 1) * 1000; e.id == id && pass(e.tags) && end > ms-d && end <= ms {
			out[e.tags] = append(out[e.tags], e)
		}
	}
	return out
}

func total(es []event) (v float64) {
	for _, e := range es {
		v += e.value
	}
	return v
}

func last(es []event) float64 {
	at := es[0]
	for _, e := range es {
		if e.sec >= at.sec {
			at = e
		}
	}
	return at.value
}

func fold(f func(a, b float64) float64) func([]event) float64 {
	return func(es []event) float64 {
		v := es[0].value
		for _, e := range es {
			v = f(v, e.value)
		}
		return v
	}
}

var (
	counterID = metric.ID{Name: "shop.orders", Kind: metric.Counter}
	otherID   = metric.ID{Name: "shop.visits", Kind: metric.Counter}
	gaugeID   = metric.ID{Name: "heap", Kind: metric.Gauge}
	distID    = metric.ID{Name: "lat", Kind: metric.Distribution}
	setID     = metric.ID{Name: "users", Kind: metric.Set}
)

func (o *oracle) seconds(name string, from, to int64) int64 {
	return o.unit * rapid.Int64Range(from, to).Draw(o.t, name)
}

// matchers draws some, with what they pass.
func (o *oracle) matchers() (text string, pass func(metric.Tagset) bool) {
	has := func(k, v string) func(metric.Tagset) bool {
		return func(ts metric.Tagset) bool { return slices.Contains(ts.Tags(), metric.Tag{Key: k, Value: v}) }
	}
	no := func(k string) func(metric.Tagset) bool {
		return func(ts metric.Tagset) bool {
			return !slices.ContainsFunc(ts.Tags(), func(t metric.Tag) bool { return t.Key == k })
		}
	}
	not := func(f func(metric.Tagset) bool) func(metric.Tagset) bool {
		return func(ts metric.Tagset) bool { return !f(ts) }
	}
	or := func(a, b func(metric.Tagset) bool) func(metric.Tagset) bool {
		return func(ts metric.Tagset) bool { return a(ts) || b(ts) }
	}
	and := func(a, b func(metric.Tagset) bool) func(metric.Tagset) bool {
		return func(ts metric.Tagset) bool { return a(ts) && b(ts) }
	}
	type choice struct {
		text string
		pass func(metric.Tagset) bool
	}
	c := rapid.SampledFrom([]choice{
		{``, func(metric.Tagset) bool { return true }},
		{`{x="a"}`, has("x", "a")},
		{`{x!="a"}`, not(has("x", "a"))},
		{`{x="a,b"}`, and(has("x", "a"), has("x", "b"))},
		{`{x=~"a|c"}`, has("x", "a")},
		{`{x=~".+"}`, not(no("x"))},
		{`{x=~"a|"}`, or(has("x", "a"), no("x"))},
		{`{x!~"b|"}`, and(not(no("x")), not(has("x", "b")))},
		{`{y="true"}`, has("y", "")},
		{`{y=""}`, no("y")},
		{`{y!=""}`, not(no("y"))},
		{`{y=~"t.*"}`, has("y", "")},
		{`{y!~"t.*"}`, not(has("y", ""))},
		{`{y=~"p|"}`, or(has("y", "p"), no("y"))},
		{`{x="b",y=~"p?"}`, and(has("x", "b"), or(has("y", "p"), no("y")))},
	}).Draw(o.t, "matchers")
	return c.text, c.pass
}

// leaf draws a selector, or a function of a range.
func (o *oracle) leaf() expression {
	type fn struct {
		of   func([]event) float64
		per  bool
		name bool
	}
	sums := map[string]fn{"increase": {of: total}, "rate": {of: total, per: true}, "sum_over_time": {of: total}}
	kinds := map[metric.ID]map[string]fn{
		counterID: sums, otherID: sums,
		gaugeID: {
			"max_over_time": {of: fold(math.Max)}, "min_over_time": {of: fold(math.Min)}, "sum_over_time": {of: total},
			"count_over_time": {of: func(es []event) float64 { return float64(len(es)) }},
			"avg_over_time":   {of: func(es []event) float64 { return total(es) / float64(len(es)) }},
			"last_over_time":  {of: last, name: true},
		},
		setID: {"increase": {of: uniques}, "rate": {of: uniques, per: true}},
	}
	id := rapid.SampledFrom([]metric.ID{counterID, otherID, gaugeID, distID, setID}).Draw(o.t, "metric")
	name, suffix := id.Name, ""
	fns, instant := kinds[id], total
	switch id {
	case distID:
		suffix = rapid.SampledFrom([]string{"_count", "_sum"}).Draw(o.t, "part")
		fns = sums
		if suffix == "_count" {
			instant = func(es []event) float64 { return float64(len(es)) }
			fns = map[string]fn{"increase": {of: instant}, "rate": {of: instant, per: true}}
		}
	case gaugeID:
		instant = last
	case setID:
		instant = uniques
	}
	match, pass := o.matchers()
	text := rapid.SampledFrom([]string{name, sanitized(name)}).Draw(o.t, "form") + suffix + match
	offset, shift := "", int64(0)
	if rapid.Bool().Draw(o.t, "offset") {
		s := o.seconds("by", -3, 9)
		offset, shift = fmt.Sprintf(" offset %ds", s), s*1000
		if s < 0 {
			offset = fmt.Sprintf(" offset -%ds", -s)
		}
	}
	fixed := int64(0)
	if rapid.IntRange(0, 5).Draw(o.t, "at") == 0 {
		fixed = base + o.seconds("@", 0, 400/o.unit)
		offset = fmt.Sprintf(" @ %d", fixed) + offset
	}
	eval := func(d int64, f func([]event) float64, per, named bool) func(int64) vector {
		return func(ms int64) vector {
			v := vector{}
			if fixed != 0 {
				ms = fixed * 1000
			}
			for ts, es := range o.window(id, pass, ms-shift, d) {
				n := ""
				if named {
					n = name + suffix
				}
				x := f(es)
				if per {
					x /= float64(d) / 1000
				}
				v[shown(n, ts.Tags())] = x
			}
			return v
		}
	}
	if rapid.IntRange(0, 3).Draw(o.t, "instant") == 0 {
		d := o.step
		if id == gaugeID {
			d = Lookback.Milliseconds()
		}
		return expression{text + offset, eval(d, instant, false, true)}
	}
	fname := rapid.SampledFrom(slices.Sorted(maps.Keys(fns))).Draw(o.t, "fn")
	d := o.seconds("range", 1, 20)
	f := fns[fname]
	return expression{fmt.Sprintf("%s(%s[%ds]%s)", fname, text, d, offset), eval(d*1000, f.of, f.per, f.name)}
}

func uniques(es []event) float64 {
	seen := map[float64]bool{}
	for _, e := range es {
		seen[e.value] = true
	}
	return float64(len(seen))
}

// nameless drops the names.
func nameless(v vector) vector {
	out := vector{}
	for k, x := range v {
		if strings.HasPrefix(k, model.MetricNameLabel) {
			_, k, _ = strings.Cut(k, ";")
		}
		out[k] = x
	}
	return out
}

func (o *oracle) aggregate(e expression) expression {
	how := rapid.SampledFrom([]string{"by (x)", "by (y)", "by (x, y)", "by ()", "without (x)", "without (y)", "without (x, y)"}).Draw(o.t, "group")
	op := rapid.SampledFrom([]string{"sum", "sum", "sum", "max", "min", "count", "avg"}).Draw(o.t, "op")
	keeps := func(key string) bool {
		_, list, _ := strings.Cut(how, "(")
		listed := strings.Contains(list, key)
		return strings.HasPrefix(how, "by") == listed
	}
	return expression{fmt.Sprintf("%s %s (%s)", op, how, e.text), func(ms int64) vector {
		groups := map[string][]float64{}
		in := e.at(ms)
		for _, k := range slices.Sorted(maps.Keys(in)) {
			g := ""
			for _, l := range strings.SplitAfter(k, ";") {
				if key, _, ok := strings.Cut(l, "="); ok && key != model.MetricNameLabel && keeps(key) {
					g += l
				}
			}
			groups[g] = append(groups[g], in[k])
		}
		out := vector{}
		for g, vs := range groups {
			sum := 0.0
			for _, v := range vs {
				sum += v
			}
			switch op {
			case "sum":
				out[g] = sum
			case "avg":
				out[g] = sum / float64(len(vs))
			case "count":
				out[g] = float64(len(vs))
			case "max":
				out[g] = slices.Max(vs)
			case "min":
				out[g] = slices.Min(vs)
			}
		}
		return out
	}}
}

// query draws an expression that is evaluated every step ms.
func (o *oracle) query(depth int) expression {
	switch c := rapid.IntRange(0, 9).Draw(o.t, "shape"); {
	case depth == 0 || c < 3:
		return o.leaf()
	case c < 7:
		return o.aggregate(o.query(depth - 1))
	case c < 8:
		a, b := o.query(depth-1), o.query(depth-1)
		return expression{fmt.Sprintf("(%s) * on (x, y) (sum by (x, y) (%s))", "sum by (x, y) ("+a.text+")", b.text), func(ms int64) vector {
			l, r := by2(a.at(ms)), by2(b.at(ms))
			out := vector{}
			for k, v := range l {
				if w, ok := r[k]; ok {
					out[k] = v * w
				}
			}
			return out
		}}
	default:
		return o.subquery(depth)
	}
}

// by2 is sum by (x, y).
func by2(v vector) vector {
	out := vector{}
	for k, x := range nameless(v) {
		out[k] += x
	}
	return out
}

func (o *oracle) subquery(depth int) expression {
	inner := *o
	inner.step = 1000 * o.seconds("step", 1, 5)
	e := inner.query(depth - 1)
	width := inner.step * rapid.Int64Range(1, 6).Draw(o.t, "steps")
	shift := 1000 * o.seconds("shift", 0, 4)
	text := fmt.Sprintf("max_over_time((%s)[%ds:%ds] offset %ds)", e.text, width/1000, inner.step/1000, shift/1000)
	return expression{text, func(ms int64) vector {
		out := vector{}
		to := ms - shift
		for t := (to - width) / inner.step * inner.step; t <= to; t += inner.step {
			if t <= to-width {
				continue
			}
			for k, v := range nameless(e.at(t)) {
				if old, ok := out[k]; !ok || v > old {
					out[k] = v
				}
			}
		}
		return out
	}}
}

// draw makes events, and puts each into the open buckets or the store.
func (o *oracle) draw(w *world) {
	hash := func(v float64) uint64 { return uint64(v+1) * 0x9e3779b97f4a7c15 }
	for range rapid.IntRange(0, 60).Draw(o.t, "events") {
		e := event{
			id: rapid.SampledFrom([]metric.ID{counterID, otherID, gaugeID, distID, setID}).Draw(o.t, "id"),
			tags: rapid.SampledFrom([]metric.Tagset{
				"", tagset("x", "a"), tagset("x", "b"), tagset("x", "a", "x", "b"), tagset("x", "b", "y", ""), tagset("x", "a", "y", "p"), tagset("y", ""),
			}).Draw(o.t, "tags"),
			sec: base + rapid.Int64Range(0, 400).Draw(o.t, "sec"), value: float64(rapid.IntRange(1, 9).Draw(o.t, "value")),
		}
		if e.id != setID && rapid.IntRange(0, 4).Draw(o.t, "fraction") == 0 {
			e.value /= 7
		}
		if e.id == gaugeID && slices.ContainsFunc(o.events, func(x event) bool { return x.id == e.id && x.tags == e.tags && x.sec == e.sec }) {
			continue // which of two in a second is the last is not the matter here
		}
		o.events = append(o.events, e)
		m, sec := w.store, metric.UnixSec(e.sec)
		if rapid.Bool().Draw(o.t, "open") {
			m = w.open
		}
		switch e.id.Kind {
		case metric.Counter:
			m.count(e.id.Name, e.tags, sec, e.value)
		case metric.Gauge:
			m.gauge(e.id.Name, e.tags, sec, e.value)
		case metric.Distribution:
			m.observe(e.id.Name, e.tags, sec, e.value)
		case metric.Set:
			m.insert(e.id.Name, e.tags, sec, hash(e.value))
		}
	}
	for _, id := range []metric.ID{counterID, otherID, gaugeID, distID, setID} {
		w.store.of(id, tagset("x", "never")) // known, whatever was drawn
	}
}

// TestAgainstOracle: what the engine says is what the events say, with sums in the executor
// and without, whatever tiers there are, if they divide what is asked for. 2,000 queries.
func TestAgainstOracle(t *testing.T) {
	for range 20 { // of rapid's 100
		rapid.Check(t, askOracle)
	}
}

func askOracle(t *rapid.T) {
	w := newWorld(base + 10_000) // all buckets have ended; TestOpenBuckets is about others
	o := &oracle{t: t, unit: 1}
	if rapid.Bool().Draw(t, "coarse") {
		o.unit = 10
		w.policy = metric.Retention{0, 400 * 86400, 400 * 86400, 400 * 86400}
	}
	o.draw(w)
	start := base*1000 + 1000*o.seconds("start", 0, 400/o.unit)
	q := Query{}
	o.step = 1000 * o.seconds("step", 1, 60)
	n := rapid.Int64Range(0, 12).Draw(t, "points")
	if n == 0 {
		o.step = InstantWindow.Milliseconds()
	}
	if o.unit == 1 {
		start += rapid.SampledFrom([]int64{0, 0, 1, 500, 999}).Draw(t, "ms")
	}
	e := o.query(2)
	q.Text, q.Start, q.End = e.text, time.UnixMilli(start), time.UnixMilli(start)
	if n > 0 {
		q.Step = time.Duration(o.step) * time.Millisecond
		q.End = q.Start.Add(time.Duration(n-1) * q.Step)
	}
	for _, general := range []bool{false, true} {
		eng := w.engine()
		eng.general = general
		res, err := eng.Run(context.Background(), q)
		require.NoError(t, err, q.Text)
		got := tableOf(res.value)
		for i := range max(1, n) {
			ms := start + i*o.step
			compare(t, e.at(ms), got[ms], "%s at %d, general %t", q.Text, ms, general)
			delete(got, ms)
		}
		require.Empty(t, got, q.Text)
		require.Empty(t, res.Warnings(), q.Text)
		res.Close()
	}
}

func compare(t require.TestingT, want, got vector, text string, args ...any) {
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)), fmt.Sprintf(text, args...))
	for k, v := range want {
		within := 1e-12
		if strings.Contains(fmt.Sprint(args...), setID.Name) {
			within = 1e-3 // an estimate
		}
		require.InEpsilon(t, v+1000, got[k]+1000, within, fmt.Sprintf(text, args...)+" "+k)
	}
}

func tableOf(v any) map[int64]vector {
	out := map[int64]vector{}
	put := func(ms int64, ls labels.Labels, x float64) {
		if out[ms] == nil {
			out[ms] = vector{}
		}
		var b strings.Builder
		ls.Range(func(l labels.Label) { fmt.Fprintf(&b, "%s=%s;", l.Name, l.Value) })
		out[ms][b.String()] = x
	}
	switch v := v.(type) {
	case promql.Vector:
		for _, s := range v {
			put(s.T, s.Metric, s.F)
		}
	case promql.Matrix:
		for _, s := range v {
			for _, p := range s.Floats {
				put(p.T, s.Metric, p.F)
			}
		}
	}
	return out
}
