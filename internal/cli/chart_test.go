package cli

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drawnResult is any answer that readAnswer lets pass.
func drawnResult(t *rapid.T) *result {
	value := rapid.OneOf(
		rapid.Just(math.NaN()), rapid.Just(0.0), rapid.Just(math.Inf(1)), rapid.Float64Range(0, 100),
		rapid.Map(rapid.IntRange(0, 5), func(n int) float64 { return float64(n) }), rapid.Float64(),
	)
	n := rapid.IntRange(1, 300).Draw(t, "points")
	step := rapid.SampledFrom([]float64{0.5, 1, 10, 60, 3600, 86400, 30 * 86400}).Draw(t, "step")
	zone, err := time.LoadLocation(rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"}).Draw(t, "zone"))
	require.NoError(t, err)
	from := float64(rapid.Int64Range(0, 2_000_000_000).Draw(t, "from"))
	r := &result{
		measure: measure{rapid.SampledFrom([]string{"counter", "gauge", ""}).Draw(t, "kind"), rapid.SampledFrom([]string{"count", "rate", "last", "p95", "above:3", ""}).Draw(t, "fn")},
		title:   rapid.String().Draw(t, "title"), from: from, to: from + float64(n)*step, step: step, zone: zone,
		lines: rapid.Bool().Draw(t, "lines"), promql: rapid.Bool().Draw(t, "promql"),
	}
	for i := range n {
		r.times = append(r.times, from+float64(i)*step)
	}
	for range rapid.IntRange(0, 12).Draw(t, "series") {
		x := row{tags: map[string][]string{}, other: rapid.IntRange(0, 9).Draw(t, "other") == 0}
		for range rapid.IntRange(0, 2).Draw(t, "tags") {
			x.tags[rapid.StringN(1, 4, 8).Draw(t, "key")] = []string{rapid.StringN(0, 5, 20).Draw(t, "value")}
		}
		for range n {
			v := value.Draw(t, "v")
			x.values = append(x.values, &v)
			if rapid.IntRange(0, 9).Draw(t, "nil") == 0 {
				x.values[len(x.values)-1] = nil
			}
		}
		x.summarize()
		x.total = x.max
		r.series = append(r.series, x)
	}
	return r
}

// TestAnyAnswerIsDrawn: whatever is in it, within the display, and nothing that a terminal
// obeys.
func TestAnyAnswerIsDrawn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := drawnResult(rt)
		d := display{
			width: rapid.IntRange(1, 200).Draw(rt, "width"), height: rapid.IntRange(1, 60).Draw(rt, "height"),
			colour: rapid.Bool().Draw(rt, "colour"),
		}
		var chart, table, rows bytes.Buffer
		d.out = &chart
		require.NoError(rt, printChart(d, r))
		requireHarmless(t, display{width: math.MaxInt, colour: d.colour}, chart.String())
		// The plot is as wide as it may be; what is beside it in the legend is as wide as tags are.
		for line := range strings.Lines(chart.String()) {
			if strings.ContainsAny(line, "│┤┼") && !strings.ContainsAny(r.title, "│┤┼") {
				require.LessOrEqual(rt, visible(strings.TrimSuffix(line, "\n")), max(d.width, minWidth))
			}
		}
		d.out = &table
		require.NoError(rt, printTable(d, r, true))
		requireHarmless(t, display{width: math.MaxInt, colour: d.colour}, table.String())
		require.NoError(rt, printCSV(&rows, r))
		require.NotContains(rt, rows.String(), "\x1b")
	})
}

// TestBarsAddUp: points that share a bar are added, all of them, each once; a bar's length
// is a whole number of points.
func TestBarsAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n, width := rapid.IntRange(1, 2000).Draw(rt, "n"), rapid.IntRange(1, 120).Draw(rt, "width")
		values, want := make([]*float64, n), 0.0
		for i := range values {
			if v := float64(rapid.IntRange(-1, 9).Draw(rt, "v")); v >= 0 {
				values[i] = &v
				want += v
			}
		}
		parts := squeeze(values, width, added)
		require.LessOrEqual(rt, len(parts), max(width, 1))
		got := 0.0
		for _, v := range parts {
			if v != nil {
				got += *v
			}
		}
		require.Equal(rt, want, got)
		k := roundMerge(merged(n, width), 10)
		require.GreaterOrEqual(rt, k*width, n)
	})
}

// TestScale: it covers all values, with few steps, at numbers that are round.
func TestScale(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		low, high := rapid.Float64Range(-1e12, 1e12).Draw(rt, "low"), rapid.Float64Range(-1e12, 1e12).Draw(rt, "high")
		if low > high {
			low, high = high, low
		}
		steps := rapid.IntRange(3, 15).Draw(rt, "steps")
		s := newScale(low, high, steps, false)
		require.LessOrEqual(rt, s.low, low+1e-6*s.step)
		require.GreaterOrEqual(rt, s.high, high-1e-6*s.step)
		require.LessOrEqual(rt, s.steps(), steps)
		require.True(rt, slices.Contains([]string{"1", "2", "2.5", "5"}, strings.Split(fmt.Sprintf("%.3g", s.step/math.Pow(10, math.Floor(math.Log10(s.step)+1e-9))), "e")[0]), "%g", s.step)
	})
}

// TestTimeAxis: a day has its ticks at the hours of the wall clock, also when the clock is
// changed in it, and labels do not touch.
func TestTimeAxis(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for _, day := range []time.Time{time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), time.Date(2026, 6, 1, 0, 0, 0, 0, berlin)} {
		end := day.AddDate(0, 0, 1)
		_, labels, eras := timeAxis(day, end, 60, 80, func(at time.Time) int {
			return int(79 * float64(at.Sub(day)) / float64(end.Sub(day)))
		})
		// There may be no room for three o'clock where it is two hours after midnight.
		require.Subset(t, []string{"00:00", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00"}, strings.Fields(labels), day)
		require.Contains(t, labels, "06:00   ")
		require.Contains(t, labels, "21:00   ")
		require.True(t, strings.HasPrefix(eras, day.Format("2 Jan 2006")+", Europe/Berlin"), eras)
	}
	// An hour that clocks skip must not stop the ticks.
	for _, s := range strides {
		at := s.first(time.Date(2026, 3, 28, 5, 7, 11, 0, berlin))
		for range 40 {
			next := s.next(at)
			require.True(t, next.After(at), "%+v: %s", s, at)
			at = next
		}
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 12: "12", 999: "999", 1000: "1,000", -1234567.5: "-1,234,567.5", 1e300: "1e+300", 123456789012: "123,456,789,012",
	} {
		require.Equal(t, want, exact(v))
	}
	require.Equal(t, "0.3", sumText(0.1+0.2), "the noise of a sum is not shown")
	require.Equal(t, "≈ 3.333333", sumText(10.0/3))
	require.Equal(t, "1.5k", compact(1500))
	require.Equal(t, "2M", compact(2e6))
	require.Equal(t, "-30k", compact(-30_000))
	require.Equal(t, "0.25", compact(0.25))
	require.Equal(t, "1h", span(3600))
	require.Equal(t, "90s", span(90))
	require.Equal(t, "7d", span(7*86400))
	v := 1234.5
	require.Equal(t, "1,234.5 units", measure{"counter", "rate"}.total(&v))
	require.Equal(t, "1,234.5 observations", measure{"distribution", "count"}.total(&v))
	require.Equal(t, "count over the range", measure{"counter", "rate"}.totalName())
	require.Equal(t, "1,235 (within 2%)", measure{"set", "uniques"}.total(&v))
	require.Equal(t, "–", measure{"gauge", "avg"}.total(nil))
	require.Equal(t, "ab…", cut("abcdef", 3))
	require.Equal(t, "表…", cut("表示中", 4))
	require.Equal(t, "abc", cut("abc", 3))
	require.Equal(t, "…", cut("abc", 1))
}

func TestIsPromQL(t *testing.T) {
	for text, want := range map[string]bool{"signups": false, "shop.*": false, "a-b_c.d:e": false, "a + b": true, "sum(a)": true, `{__name__="x"}`: true, "a[5m]": true} {
		require.Equal(t, want, isPromQL(text), text)
	}
}
