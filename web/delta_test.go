package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
	"cairn/query"
)

// decoded is JSON with numbers as they were written.
func decoded(t require.TestingT, b []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var out map[string]any
	require.NoError(t, d.Decode(&out), "%s", b)
	return out
}

// apply does with a delta what docs/streams.md tells clients to do.
func apply(t require.TestingT, answer, delta map[string]any) map[string]any {
	place := func(v any) int {
		n, err := v.(json.Number).Int64()
		require.NoError(t, err)
		return int(n)
	}
	dropped := place(delta["dropped"])
	times := append(slices.Clone(answer["times"].([]any)[dropped:]), delta["times"].([]any)...)
	old := answer["series"].([]any)
	series := slices.Clone(old)
	if order, ok := delta["order"].([]any); ok {
		series = make([]any, len(order))
		for i, from := range order {
			if j := place(from); j >= 0 {
				series[i] = old[j]
			}
		}
	}
	for i, s := range series {
		if s == nil {
			continue // it comes in whole
		}
		moved := map[string]any{}
		for k, v := range s.(map[string]any) {
			moved[k] = v
		}
		values := slices.Clone(moved["values"].([]any)[dropped:])
		for len(values) < len(times) {
			values = append(values, nil)
		}
		moved["values"] = values
		series[i] = moved
	}
	for _, c := range delta["series"].([]any) {
		c := c.(map[string]any)
		at := place(c["at"])
		if _, whole := c["tags"]; whole {
			delete(c, "at")
			series[at] = c
			continue
		}
		s := series[at].(map[string]any)
		if since, ok := c["since"]; ok {
			s["values"] = append(s["values"].([]any)[:place(since):place(since)], c["values"].([]any)...)
		}
		for _, k := range []string{"total", "min", "max", "last"} {
			s[k] = c[k]
		}
	}
	out := map[string]any{}
	for k, v := range delta {
		out[k] = v
	}
	delete(out, "dropped")
	delete(out, "order")
	out["times"], out["series"] = times, series
	return out
}

// resultOf draws a result of which some is as it was in the one before.
func resultOf(t *rapid.T, before *query.Result) *query.Result {
	r := &query.Result{Metric: "m", Kind: metric.Counter, Fn: query.Count, Grid: query.Grid{From: 1000, Step: 10}, Tier: metric.Tier10s}
	points := rapid.IntRange(0, 60).Draw(t, "points")
	was := map[string]*query.Series{}
	var names []string
	if before != nil {
		*r = *before
		r.Series, r.Warnings = nil, nil
		points = int(int64(before.To-before.From) / before.Step)
		switch rapid.IntRange(0, 9).Draw(t, "window") {
		case 0:
			r.From += 10 * metric.UnixSec(rapid.IntRange(-2, 40).Draw(t, "jump"))
			points = rapid.IntRange(0, 60).Draw(t, "points")
		case 1:
			r.From, r.Step = r.From.Floor(60), 60
		case 2, 3, 4:
			r.From += metric.UnixSec(r.Step)
		case 5:
			points++
		}
		for i := range before.Series {
			s := &before.Series[i]
			name := string(appendIdentity(nil, s))
			was[name] = s
			if rapid.IntRange(0, 9).Draw(t, "stays") > 0 {
				names = append(names, name)
			}
		}
		if rapid.IntRange(0, 4).Draw(t, "reorder") == 0 {
			names = rapid.Permutation(names).Draw(t, "order")
		}
	}
	r.To = r.From + metric.UnixSec(int64(points)*r.Step)
	for range rapid.IntRange(0, 3).Draw(t, "new") {
		s := query.Series{}
		if n := rapid.IntRange(0, 8).Draw(t, "tags"); n > 0 {
			s.Tags = []query.GroupTag{{Key: "k", Values: []string{fmt.Sprint(n), "x"}[:1+n%2]}}
		}
		if name := string(appendIdentity(nil, &s)); !slices.Contains(names, name) {
			names = slices.Insert(names, rapid.IntRange(0, len(names)).Draw(t, "at"), name)
			if was[name] == nil {
				was[name] = &s
			}
		}
	}
	number := rapid.SampledFrom([]float64{math.NaN(), math.NaN(), 0, math.Copysign(0, -1), 1, 2.5, 1e300})
	for _, name := range names {
		s := *was[name]
		values := make([]float64, points)
		for i := range values {
			values[i] = math.NaN()
			at := int(int64(r.From)/r.Step) + i
			if before != nil && before.Step == r.Step {
				if j := at - int(int64(before.From)/r.Step); j >= 0 && j < len(s.Values) {
					values[i] = s.Values[j]
				}
			}
			if i >= points-2 || rapid.IntRange(0, 200).Draw(t, "amended") == 0 {
				values[i] = number.Draw(t, "value")
			}
		}
		s.Values = values
		if rapid.Bool().Draw(t, "figures") {
			s.Total, s.Min, s.Max, s.Last = number.Draw(t, "total"), number.Draw(t, "min"), number.Draw(t, "max"), number.Draw(t, "last")
		}
		r.Series = append(r.Series, s)
		r.Total += s.Total
	}
	r.SealedUntil += metric.UnixSec(rapid.IntRange(0, 1).Draw(t, "sealed"))
	if rapid.IntRange(0, 5).Draw(t, "warned") == 0 {
		r.Warnings = []string{"careful"}
	}
	return r
}

// TestDeltasMakeTheAnswer: who applies what comes has what a fresh query answers.
func TestDeltasMakeTheAnswer(t *testing.T) {
	deltas, fulls := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		last := newAnswer(resultOf(t, nil))
		have := decoded(t, appendResult(nil, last.res))
		for range rapid.IntRange(1, 8).Draw(t, "updates") {
			now := newAnswer(resultOf(t, last.res))
			fresh := decoded(t, appendResult(nil, now.res))
			delta, ok := diff(last, now, false)
			switch {
			case ok && delta == nil:
			case ok:
				deltas++
				require.NotContains(t, string(delta), "\n")
				have = apply(t, have, decoded(t, delta))
			default:
				fulls++
				have = fresh
			}
			require.Equal(t, fresh, have)
			last = now
		}
	})
	require.Positive(t, fulls)
	require.Positive(t, deltas)
}

// TestDeltaIsSmall: an hour of a hundred series, of which some count on.
func TestDeltaIsSmall(t *testing.T) {
	hour := func(from metric.UnixSec, counted float64) *answer {
		r := &query.Result{Metric: "m", Kind: metric.Counter, Fn: query.Count, Grid: query.EvenGrid(from, from+3600, 10), Tier: metric.Tier10s, SealedUntil: from + 3590}
		for i := range 100 {
			s := query.Series{Tags: []query.GroupTag{{Key: "k", Values: []string{fmt.Sprint(i)}}}, Values: make([]float64, 360)}
			if i < 5 {
				s.Values[359], s.Total = counted, counted
			}
			r.Series = append(r.Series, s)
		}
		return newAnswer(r)
	}
	a := hour(0, 1)
	delta, ok := diff(a, hour(0, 1), false)
	require.True(t, ok)
	require.Nil(t, delta)
	delta, ok = diff(a, hour(0, 1), true)
	require.True(t, ok)
	require.JSONEq(t, `[]`, string(mustField(t, delta, "series")), "asked for, and empty")
	delta, ok = diff(a, hour(0, 2), false)
	require.True(t, ok)
	require.Less(t, len(delta), 1000)
	require.Contains(t, string(delta), `{"at":0,"since":359,"values":[2],"total":2,"min":0,"max":0,"last":0}`)
	delta, ok = diff(a, hour(10, 2), false)
	require.True(t, ok)
	require.Contains(t, string(delta), `"dropped":1,"times":[3600]`)
	require.Greater(t, len(a.full()), 10*len(delta))
	_, ok = diff(a, hour(3600, 2), false)
	require.False(t, ok, "nothing of the window is left")
}

func mustField(t *testing.T, b []byte, name string) json.RawMessage {
	t.Helper()
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(b, &fields))
	return fields[name]
}

// TestSeriesThatLookTheSame: bytes that are not UTF-8 are one character in JSON.
func TestSeriesThatLookTheSame(t *testing.T) {
	r := &query.Result{Kind: metric.Counter, Tier: metric.Tier1s, Grid: query.EvenGrid(0, 1, 1), Series: []query.Series{
		{Tags: []query.GroupTag{{Key: "k", Values: []string{"\xff"}}}, Values: []float64{1}},
		{Tags: []query.GroupTag{{Key: "k", Values: []string{"\xfe"}}}, Values: []float64{2}},
	}}
	_, ok := diff(newAnswer(r), newAnswer(r), false)
	require.False(t, ok)
}
