package query

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

// TestExpressionsAgainstTheirTrees: what is written out of a random tree has the tree's
// value.
func TestExpressionsAgainstTheirTrees(t *testing.T) {
	values := map[byte]float64{'a': 3, 'b': -0.5, 'z': 1000}
	var draw func(t *rapid.T, depth int) (text string, value float64)
	draw = func(t *rapid.T, depth int) (string, float64) {
		switch kind := rapid.IntRange(0, 5).Draw(t, "kind"); {
		case depth == 0 || kind == 0:
			l := rapid.SampledFrom([]byte("abz")).Draw(t, "letter")
			return string(l), values[l]
		case kind == 1:
			n := rapid.SampledFrom([]float64{0, 1, 2.5, 100}).Draw(t, "number")
			return fmt.Sprint(n), n
		case kind == 2:
			s, v := draw(t, depth-1)
			return "-(" + s + ")", -v
		}
		l, x := draw(t, depth-1)
		r, y := draw(t, depth-1)
		quotient := x / y
		if math.IsInf(quotient, 0) {
			quotient = math.NaN()
		}
		op := rapid.SampledFrom([]string{"+", "-", "*", "/"}).Draw(t, "op")
		return "(" + l + ")" + rapid.SampledFrom([]string{"", " "}).Draw(t, "space") + op + "(" + r + ")", map[string]float64{"+": x + y, "-": x - y, "*": x * y, "/": quotient}[op]
	}
	rapid.Check(t, func(t *rapid.T) {
		text, want := draw(t, 4)
		x, err := ParseExpr(text + " + 0 * a")
		if err != nil {
			require.Greater(t, len(text), maxExpr-10)
			return
		}
		got := x.Value(func(l byte) float64 { return values[l] })
		if math.IsInf(want, 0) || math.IsNaN(want) {
			require.True(t, math.IsNaN(got))
			return
		}
		require.InDelta(t, want, got, 1e-9*math.Abs(want))
	})
	x, err := ParseExpr("10 - 2 - 3 * 2 / 4 + a")
	require.NoError(t, err)
	require.Equal(t, 9.5, x.Value(func(byte) float64 { return 3 }), "operators of one rank go from the left")
	x, err = ParseExpr("1 / (1 / a)")
	require.NoError(t, err)
	require.True(t, math.IsNaN(x.Value(func(byte) float64 { return 0 })), "there is no 1 / 0 to divide by")
}

func TestBadExpressions(t *testing.T) {
	for text, says := range map[string]string{
		"a +": "is expected at its end", "a b": `an operator, one of + - * /, is expected at "b"`, "(a": "a closing parenthesis is expected at its end",
		"A": "use letters a to z", "1 + 2": "has no letter", "a / 1.2.3": "a number is expected", "a % b": "an operator", "": "is expected at its end",
	} {
		_, err := ParseExpr(text)
		require.ErrorContains(t, err, says, text)
	}
}

func FuzzExpr(f *testing.F) {
	f.Add("a / (a + b) * 100")
	f.Fuzz(func(t *testing.T, text string) {
		if x, err := ParseExpr(text); err == nil {
			x.Value(func(byte) float64 { return 1 })
		}
	})
}

func ask(t *testing.T, src *fakeSource, params map[string][]string) *Result {
	t.Helper()
	params["from"], params["to"], params["step"] = []string{"0"}, []string{"20"}, []string{"10s"}
	r, err := parse(t, params, 9000)
	require.NoError(t, err)
	res, err := executor(&fakeSource{}, src).Run(context.Background(), r)
	require.NoError(t, err)
	return res
}

func values(res *Result) string {
	text := ""
	for _, s := range res.Series {
		text += fmt.Sprintf("%v%v=%v;", s.Tags, s.Values, s.Total)
	}
	return text
}

func TestQueriesAreCombined(t *testing.T) {
	tags := func(k, v string) metric.Tagset {
		return metric.NewTagset([]metric.Tag{{Key: "code", Value: v}, {Key: "region", Value: k}})
	}
	src := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{
		tags("eu", "200"): {1: 8, 11: 5}, tags("eu", "500"): {2: 2}, tags("us", "200"): {1: 4},
	}}
	p := map[string][]string{"metric": {"m"}, "a.filter": {"code:500"}, "expr": {"a / b"}}
	res := ask(t, src, p)
	require.Equal(t, fmt.Sprintf("[][%v NaN]=%v;", 2.0/14, 2.0/19), values(res))
	require.Equal(t, 2.0/19, res.Total)
	require.True(t, res.Expr)

	p["by"] = []string{"region"}
	require.Equal(t, fmt.Sprintf("[{region [eu]}][0.2 NaN]=%v;[{region [us]}][NaN NaN]=NaN;", 2.0/15), values(ask(t, src, p)))
	p["fill"] = []string{"zero"}
	require.Equal(t, fmt.Sprintf("[{region [eu]}][0.2 0]=%v;[{region [us]}][0 NaN]=0;", 2.0/15), values(ask(t, src, p)), "no errors are 0 errors")
	delete(p, "fill")
	p["b.by"] = []string{""}
	p["expr"] = []string{"100 * b / a"}
	p["a.filter"] = nil
	require.Equal(t, fmt.Sprintf("[{region [us]}][350 NaN]=475;[{region [eu]}][140 100]=%v;", 1900.0/15), values(ask(t, src, p)), "a whole goes with each group")
}

func TestBadOperands(t *testing.T) {
	for _, c := range []struct{ name, value, param, says string }{
		{"c.metric", "m", "c.metric", `is for the operand "c", which is not in expr "a / b"`},
		{"a.from", "0", "a.from", "an operand has metric, filter"},
		{"a.filter", ":", "a.filter", "has no tag key"},
		{"a.fn", "median", "a.fn", "is not known"},
		{"top", "3", "top", "use limit"},
		{"foo", "3", "foo", "there are metric"},
		{"a.metric", "", "a.metric", "the parameter a.metric is missing"},
	} {
		p := map[string][]string{"a.metric": {"m"}, "b.metric": {"m"}, "expr": {"a / b"}}
		p[c.name] = []string{c.value}
		_, err := parse(t, p, 9000)
		var bad *ParamError
		require.ErrorAs(t, err, &bad, c.name)
		require.Equal(t, c.param, bad.Param)
		require.Contains(t, bad.Sentence, c.says)
	}
}

// TestOperandsHaveTheSameSteps: where one of them needs longer steps, or has no such ones.
func TestOperandsHaveTheSameSteps(t *testing.T) {
	h := held(t, "1s:1h,1m:30d", today)
	src := &fakeSource{stored: true, series: map[metric.Tagset]map[metric.UnixSec]float64{"": {today - 10: 1, today - day - 10: 3}}}
	x := &Executor{Acquire: func() (*View, error) {
		return &View{OpenDone: func() {}, Store: src, SealedUntil: today, Held: func(metric.ID) metric.Held { return h }, Close: func() {}}, nil
	}}
	p := map[string][]string{"metric": {"m"}, "b.shift": {"1d"}, "expr": {"a - b"}, "from": {"-5m"}, "to": {"now"}, "step": {"10s"}}
	r, err := parse(t, p, today-1)
	require.NoError(t, err)
	res, err := x.Run(context.Background(), r)
	require.NoError(t, err)
	require.EqualValues(t, 60, res.Step)
	require.Equal(t, -2.0, res.Total)
	require.Equal(t, -2.0, res.Series[0].Values[4])
	require.Len(t, res.Warnings, 1)

	p["b.shift"] = []string{"86410s"}
	r, err = parse(t, p, today-1)
	require.NoError(t, err)
	res, err = x.Run(context.Background(), r)
	require.NoError(t, err)
	require.EqualValues(t, 60, res.Step)
	require.EqualValues(t, 10, res.From%60, "the minutes of b, which the seconds of a make up")

	p["a.shift"] = []string{"1d"}
	r, err = parse(t, p, today-1)
	require.NoError(t, err)
	_, err = x.Run(context.Background(), r)
	require.ErrorContains(t, err, "shift by multiples of the step")
}

// TestNothingHasNoTotal: an operand without an event has a total only where that means 0.
func TestNothingHasNoTotal(t *testing.T) {
	src := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{"": {1: 8}}}
	p := map[string][]string{"metric": {"m"}, "b.filter": {"code:500"}, "expr": {"a - b"}}
	res := ask(t, src, p)
	require.True(t, math.IsNaN(res.Total))
	require.True(t, math.IsNaN(res.Series[0].Total))
	p["fill"] = []string{"zero"}
	res = ask(t, src, p)
	require.Equal(t, 8.0, res.Total)
	require.Equal(t, 8.0, res.Series[0].Total)
}

// TestOnlyWhatIsShownIsCalculated, and no longer than a query may take.
func TestOnlyWhatIsShownIsCalculated(t *testing.T) {
	src := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{}}
	for i := range 50 {
		src.series[metric.NewTagset([]metric.Tag{{Key: "i", Value: fmt.Sprint(i)}})] = map[metric.UnixSec]float64{1: float64(i)}
	}
	res := ask(t, src, map[string][]string{"metric": {"m"}, "by": {"i"}, "expr": {"a + a"}, "limit": {"2"}})
	require.True(t, res.Truncated)
	require.Equal(t, "[{i [49]}][98 NaN]=98;[{i [48]}][96 NaN]=96;", values(res))
	x, err := ParseExpr("a + a")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	rows := []row{{tags: []GroupTag{{"i", []string{"1"}}}, values: []float64{1}}}
	_, err = combine(ctx, &Request{Expr: x, Limit: 1, Operands: map[byte]Operand{'a': {Group: Grouping{Mode: EachTagset}}}}, []byte("a"), map[byte]*table{'a': {rows: rows}})
	require.ErrorIs(t, err, context.Canceled)
}

// TestDaysBeforeTheClocksChanged: a week ago begins at midnight, too.
func TestDaysBeforeTheClocksChanged(t *testing.T) {
	berlin := inZone(t, "Europe/Berlin")
	at := func(s string) metric.UnixSec {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
		require.NoError(t, err)
		return metric.SecOf(v)
	}
	src := &fakeSource{stored: true, series: map[metric.Tagset]map[metric.UnixSec]float64{"": {at("2026-10-24 14:00"): 1, at("2026-10-25 00:30"): 10}}}
	p := map[string][]string{"metric": {"m"}, "step": {"1d"}, "tz": {"Europe/Berlin"}, "shift": {"1w"}, "from": {fmt.Sprint(at("2026-10-31 00:00"))}, "to": {fmt.Sprint(at("2026-11-02 00:00"))}}
	r, err := parse(t, p, int64(at("2026-11-02 12:00")))
	require.NoError(t, err)
	res, err := executor(&fakeSource{}, src).Run(context.Background(), r)
	require.NoError(t, err)
	require.Equal(t, "[][1 10]=11;", values(res))
	require.Equal(t, at("2026-10-31 00:00"), res.Start(0))
	require.Equal(t, at("2026-11-01 00:00"), res.Start(1))
	require.Empty(t, res.Warnings)
}

// TestZeroIsForWholeSteps: in a step that is still open events may come.
func TestZeroIsForWholeSteps(t *testing.T) {
	src := &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{"": {1: 8}}}
	p := map[string][]string{"metric": {"m"}, "fill": {"zero"}, "from": {"0"}, "to": {"60"}, "step": {"20s"}}
	r, err := parse(t, p, 9000)
	require.NoError(t, err)
	res, err := executor(&fakeSource{}, src).Run(context.Background(), r) // sealed until 42
	require.NoError(t, err)
	require.Equal(t, "[][8 0 NaN]=8;", values(res))
}

// TestATagThatIsCalledName: is not told beside the metric's name.
func TestATagThatIsCalledName(t *testing.T) {
	ts := metric.NewTagset([]metric.Tag{{Key: "__name__", Value: "x"}, {Key: "a", Value: "b"}})
	res := ask(t, &fakeSource{series: map[metric.Tagset]map[metric.UnixSec]float64{ts: {1: 8}}}, map[string][]string{"metric": {"m"}, "by": {"*,__name__"}})
	require.Equal(t, "[{__name__ [m]} {a [b]}][8 NaN]=8;", values(res))
}

// TestAGroupCountsOnce towards what fits, though it is both open and stored.
func TestAGroupCountsOnce(t *testing.T) {
	data := map[metric.Tagset]map[metric.UnixSec]float64{}
	for i := range maxCells / MaxPoints {
		data[metric.NewTagset([]metric.Tag{{Key: "i", Value: fmt.Sprint(i)}})] = map[metric.UnixSec]float64{100: 1}
	}
	r, err := parse(t, map[string][]string{"metric": {"m"}, "by": {"i"}, "from": {"0"}, "to": {fmt.Sprint(MaxPoints)}, "step": {"1s"}, "limit": {"1"}}, 200)
	require.NoError(t, err)
	res, err := executor(&fakeSource{series: data}, &fakeSource{series: data}).Run(context.Background(), r)
	require.NoError(t, err)
	require.EqualValues(t, 2*len(data), res.Total)
}
