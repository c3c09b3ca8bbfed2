package query

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/clock"
)

func TestActivityTellsWhatRuns(t *testing.T) {
	c := clock.NewManual(time.Unix(1000, 0))
	a := NewActivity(c)
	one := a.Begin("metric=a", "10.0.0.1:5")
	c.Advance(2 * time.Second)
	two := a.Begin("metric=b", "stream")
	one.Turn()
	active, slowest := a.Report()
	require.Equal(t, []Active{
		{ID: 1, Text: "metric=a", Client: "10.0.0.1:5", Started: time.Unix(1000, 0).UTC(), Took: 2 * time.Second},
		{ID: 2, Text: "metric=b", Client: "stream", Started: time.Unix(1002, 0).UTC(), Waiting: true},
	}, active)
	require.Empty(t, slowest)
	require.Equal(t, Counts{Running: 1, Waiting: 1}, a.Counts())
	c.Advance(time.Second)
	one.End(nil)
	two.End(&LimitError{Sentence: "too much"})
	active, slowest = a.Report()
	require.Empty(t, active)
	require.Len(t, slowest, 2)
	require.Equal(t, 3*time.Second, slowest[0].Took)
	require.Equal(t, "too much", slowest[1].Err)
	require.Equal(t, Counts{Ended: 2, Refused: 1, Seconds: 4}, a.Counts())
}

// TestActivityBlames: an error of the inside is not told.
func TestActivityBlames(t *testing.T) {
	for _, c := range []struct {
		err  error
		text string
		want Counts
	}{
		{fmt.Errorf("x: %w", &ParamError{"by", "no such key"}), "x: no such key", Counts{Ended: 1}},
		{context.DeadlineExceeded, "context deadline exceeded", Counts{Ended: 1, Refused: 1}},
		{fmt.Errorf("scan: %w", context.Canceled), "canceled: nobody waited for the answer any more", Counts{Ended: 1, Canceled: 1}},
		{errors.New("/root/secret"), "failed; the server's log says why", Counts{Ended: 1, Failed: 1}},
	} {
		a := NewActivity(clock.NewManual(time.Unix(0, 0)))
		a.Begin("q", "c").End(c.err)
		_, slowest := a.Report()
		require.Equal(t, c.text, slowest[0].Err)
		require.Equal(t, c.want, a.Counts())
	}
}

func TestTextIsCut(t *testing.T) {
	require.Equal(t, strings.Repeat("x", maxText), cut(strings.Repeat("x", maxText)))
	for n := range 6 {
		escaped := strings.Repeat("y", n) + strings.Repeat("%C3%A4", 200)
		got, ok := strings.CutSuffix(cut(escaped), "…")
		require.True(t, ok)
		require.Contains(t, []int{maxText, maxText - 1, maxText - 2}, len(got))
		_, err := url.QueryUnescape(got)
		require.NoError(t, err)
	}
}

// TestSlowestAgainstAll compares what is kept in slots with all queries of the last hour.
func TestSlowestAgainstAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := clock.NewManual(time.Unix(rapid.Int64Range(0, 1000).Draw(t, "start"), 0))
		a := NewActivity(c)
		type ran struct {
			text  string
			took  time.Duration
			ended time.Time
		}
		var all []ran
		for range rapid.IntRange(0, 300).Draw(t, "queries") {
			text := fmt.Sprint(rapid.IntRange(0, 80).Draw(t, "text"))
			took := time.Duration(rapid.IntRange(0, 40).Draw(t, "took")) * time.Second
			r := a.Begin(text, "")
			c.Advance(took)
			r.End(nil)
			all = append(all, ran{text, took, c.Now()})
			c.Advance(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 60, 600}).Draw(t, "pause")) * time.Second)
		}
		longest := map[string]time.Duration{}
		for _, r := range all {
			if slotOf(r.ended) > slotOf(c.Now())-int64(slowSlots) {
				longest[r.text] = max(longest[r.text], r.took)
			}
		}
		var want []time.Duration
		for _, took := range longest {
			want = append(want, took)
		}
		slices.Sort(want)
		slices.Reverse(want)
		want = want[:min(len(want), slowestKept)]
		_, slowest := a.Report()
		var got []time.Duration
		seen := map[string]bool{}
		for _, e := range slowest {
			require.False(t, seen[e.Text], e.Text)
			seen[e.Text] = true
			require.LessOrEqual(t, e.Took, longest[e.Text])
			got = append(got, e.Took)
		}
		require.Equal(t, want, got)
	})
}

func TestActivityAtOnce(t *testing.T) {
	a := NewActivity(clock.NewSystem())
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for n := range 200 {
				r := a.Begin(fmt.Sprint(i, n), "")
				r.Turn()
				a.Report()
				a.Counts()
				r.End(nil)
			}
		})
	}
	wait.Wait()
	require.EqualValues(t, 1600, a.Counts().Ended)
	_, slowest := a.Report()
	require.Len(t, slowest, slowestKept)
}
