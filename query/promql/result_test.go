package promql

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/query"
)

// TestNumbers: numbers are written as Prometheus writes them.
func TestNumbers(t *testing.T) {
	want := func(v float64) string {
		form := byte('f')
		if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) && !math.IsInf(v, 0) {
			form = 'e'
		}
		return strconv.FormatFloat(v, form, -1, 64)
	}
	for _, v := range []float64{
		0, math.Copysign(0, -1), 1, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 123_456, -1, -10_000, 0.5, 1 << 53, 1<<53 + 2, -1 << 60,
		1e20, 1e21, 1e-6, 1e-7, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64,
	} {
		require.Equal(t, want(v), string(appendDigits(nil, v)))
	}
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.OneOf(rapid.Float64(), rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.Int64().Draw(t, "n")) })).Draw(t, "v")
		require.Equal(t, want(v), string(appendDigits(nil, v)))
	})
}

func TestTimesAndStrings(t *testing.T) {
	for ms, want := range map[int64]string{0: "0", 1: "0.001", 1700000000000: "1700000000", 1700000000050: "1700000000.050", -1500: "-1.500"} {
		require.Equal(t, want, string(appendTime(nil, ms)))
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("a\"\\\n\t\x00\x1f\x7f\u2028é"))), rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		})).Draw(t, "s")
		var back string
		require.NoError(t, json.Unmarshal(AppendString(nil, s), &back))
		require.Equal(t, string([]rune(s)), back) // what is no UTF-8 is replaced
	})
}

// TestPointsOfOneSeries: as one after another would be written.
func TestPointsOfOneSeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []promql.FPoint
		at := rapid.SampledFrom([]int64{-5000, 0, 1, 999_990_000, 1_700_000_000_000, 9_999_999_990_000}).Draw(t, "first")
		want := []byte("x")
		for i := range rapid.IntRange(0, 20).Draw(t, "n") {
			at += rapid.SampledFrom([]int64{0, 1, 500, 1000, 1000, 10_000, 3_600_000, 2e12, -1000}).Draw(t, "step")
			p := promql.FPoint{T: at, F: float64(i)}
			all = append(all, p)
			if i > 0 {
				want = append(want, ',')
			}
			want = appendPoint(want, p.T, p.F)
		}
		require.Equal(t, string(want), string(pointsOf([]byte("x"), all)))
	})
}

// TestAnswersEnd: an answer that is too large is given up soon after that shows.
func TestAnswersEnd(t *testing.T) {
	e := kinds().engine()
	start := time.Unix(base, 0)
	instant := Query{Start: start.Add(10 * time.Minute), End: start.Add(10 * time.Minute)}
	ranged := Query{Start: start, End: start.Add(10 * time.Minute), Step: time.Second}
	for _, c := range []struct {
		text string
		q    Query
		size int // at least
	}{
		{`api_requests`, instant, 200}, {`api_requests`, ranged, 20_000}, {`heap[10m]`, instant, 10_000}, {`lat`, instant, 300}, {`lat`, ranged, 50_000},
		{`vector(1)[1m:1ms]`, instant, 1_000_000},
	} {
		c.q.Text = c.text
		res, err := e.Run(context.Background(), c.q)
		require.NoError(t, err, c.text)
		whole, err := res.Append(nil)
		require.NoError(t, err)
		require.True(t, json.Valid(append(append([]byte("{"), whole...), '}')), c.text)
		require.Greater(t, len(whole), c.size, c.text)
		same, err := res.append(nil, len(whole))
		require.NoError(t, err)
		require.Equal(t, string(whole), string(same))
		_, err = res.append(nil, len(whole)-1)
		var limit *query.LimitError
		require.ErrorAs(t, err, &limit, c.text)
		cut := res.encode(nil, 100)
		require.Less(t, len(cut), 100+pointsAtOnce*30, c.text)
		res.Close()
	}
}
