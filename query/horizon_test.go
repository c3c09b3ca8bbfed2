package query

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

// today is a midnight on which days, weeks and all partitions but those of 30 days begin.
const today = 1_700_006_400

func held(t require.TestingT, policy string, now metric.UnixSec) metric.Held {
	r, err := metric.ParseRetention(policy)
	require.NoError(t, err)
	return r.HeldAt(now)
}

func TestTierOfARange(t *testing.T) {
	const all = "1s:24h,10s:7d,1m:30d,1h:400d"
	for _, c := range []struct {
		policy   string
		from, to string
		step     string
		tier     metric.Tier
		width    int64
		at       metric.UnixSec // where the answer begins
		warnings []string
	}{
		// What holds the range and divides the step.
		{all, "-1h", "now", "1s", metric.Tier1s, 1, today - 3600, nil},
		{all, "-1h", "now", "10s", metric.Tier10s, 10, today - 3600, nil},
		{all, "-1h", "now", "1h", metric.Tier1h, 3600, today - 3600, nil},
		{all, "-1h", "now", "7s", metric.Tier1s, 7, today - 3604, nil},
		{all, "-10d", "now", "1h", metric.Tier1h, 3600, today - 10*day, nil},
		{all, "-10d", "now", "15m", metric.Tier1m, 900, today - 10*day, nil},
		// What is left is wider than the step.
		{all, "-10d", "-9d", "10s", metric.Tier1m, 60, today - 10*day, []string{"1s is kept for 1d, 10s is kept for 7d; before 2023-11-08T00:00:00Z only 1m buckets are left, so the step is 1m instead of 10s"}},
		{all, "-2d", "-47h", "1s", metric.Tier10s, 10, today - 2*day, []string{"1s is kept for 1d; before 2023-11-14T00:00:00Z only 10s buckets are left, so the step is 10s instead of 1s"}},
		{all, "-2d", "-47h", "15s", metric.Tier10s, 20, today - 2*day, []string{"1s is kept for 1d; before 2023-11-14T00:00:00Z only 10s buckets are left, so the step is 20s instead of 15s"}},
		{all, "-60d", "-59d", "90s", metric.Tier1h, 3600, today - 60*day, []string{"1s is kept for 1d, 10s is kept for 7d, 1m is kept for 30d; before 2023-10-16T00:00:00Z only 1h buckets are left, so the step is 1h instead of 90s"}},
		// Only some tiers are kept.
		{"10s:7d", "-1h", "now", "1s", metric.Tier10s, 10, today - 3600, []string{"10s is the finest resolution that is kept, so the step is 10s instead of 1s"}},
		{"1m:7d", "-1h", "now", "90s", metric.Tier1m, 120, today - 3600, []string{"1m is the finest resolution that is kept, so the step is 2m instead of 90s"}},
		{"10s:1d,1h:30d", "-2d", "now", "1m", metric.Tier1h, 3600, today - 2*day, []string{"10s is kept for 1d; before 2023-11-14T00:00:00Z only 1h buckets are left, so the step is 1h instead of 1m"}},
		{"1s:7d", "-1h", "now", "1h", metric.Tier1s, 3600, today - 3600, nil},
		// The range begins before all that is held.
		{all, "-500d", "now", "1d", metric.Tier1h, day, today - 500*day, []string{"what is kept of it begins at 2022-09-25T00:00:00Z: 1h is kept for 400d, and nothing for longer"}},
		{all, "-500d", "-499d", "10s", metric.Tier1h, 3600, today - 500*day, []string{
			"1s is kept for 1d, 10s is kept for 7d, 1m is kept for 30d; before 2023-10-16T00:00:00Z only 1h buckets are left, so the step is 1h instead of 10s",
			"what is kept of it begins at 2022-09-25T00:00:00Z: 1h is kept for 400d, and nothing for longer",
		}},
		{"1s:1d", "-2d", "now", "1m", metric.Tier1s, 60, today - 2*day, []string{"what is kept of it begins at 2023-11-14T00:00:00Z: 1s is kept for 1d, and nothing for longer"}},
		{"1s:1d,1m:1d", "-2d", "now", "1m", metric.Tier1m, 60, today - 2*day, []string{"what is kept of it begins at 2023-11-14T00:00:00Z: 1m is kept for 1d, and nothing for longer"}},
		{"10s:1d,1m:1d", "-2d", "now", "30s", metric.Tier10s, 30, today - 2*day, []string{"what is kept of it begins at 2023-11-14T00:00:00Z: 10s is kept for 1d, and nothing for longer"}},
		// Nobody asked for a step.
		{all, "-1h", "now", "auto", metric.Tier10s, 10, today - 3600, nil},
		{all, "-2d", "-47h", "auto", metric.Tier10s, 10, today - 2*day, nil},
		{all, "-10d", "-239h", "auto", metric.Tier1m, 60, today - 10*day, nil},
		{all, "-60d", "-1439h", "auto", metric.Tier1h, 3600, today - 60*day, nil},
		{"10s:7d", "-5m", "now", "auto", metric.Tier10s, 10, today - 300, nil},
		{"1h:7d", "-5m", "now", "auto", metric.Tier1h, 3600, today - 3600, nil},
		{all, "-500d", "-499d", "auto", metric.Tier1h, 3600, today - 500*day, []string{"what is kept of it begins at 2022-09-25T00:00:00Z: 1h is kept for 400d, and nothing for longer"}},
	} {
		r, err := parse(t, map[string][]string{"metric": {"m"}, "from": {c.from}, "to": {c.to}, "step": {c.step}}, today-1)
		require.NoError(t, err)
		h := held(t, c.policy, today)
		p, err := planFor(&r, r.grid(), &h)
		name := fmt.Sprint(c.policy, " ", c.from, " ", c.to, " ", c.step)
		require.NoError(t, err, name)
		require.Equal(t, c.tier, p.tier, name)
		require.Equal(t, c.width, p.grid.Step, name)
		require.Equal(t, c.at.Floor(c.width), p.grid.From, name)
		require.Equal(t, c.warnings, p.warnings, name)
	}
}

func TestPointsAreCountedOfTheStepThatIsTaken(t *testing.T) {
	h := held(t, "1m:1d", today)
	r := Request{From: 0, To: 60 * (MaxPoints + 1), Step: 1}
	_, err := planFor(&r, r.grid(), &h)
	require.ErrorContains(t, err, "a step of 60s over this range makes 11001 points; 11000 are allowed")
	r.To = 60 * MaxPoints
	_, err = planFor(&r, r.grid(), &h)
	require.NoError(t, err)
}

func drawHeld(t *rapid.T, now metric.UnixSec) metric.Held {
	var r metric.Retention
	longest := int64(0)
	for i, tier := range metric.Tiers {
		if rapid.Bool().Draw(t, "kept") {
			longest = max(longest, tier.Width()) + rapid.SampledFrom([]int64{0, 100, 5000, day, 20 * day}).Draw(t, "longer")
			r[i] = longest
		}
	}
	if longest == 0 {
		r[0] = 3600
	}
	require.NoError(t, r.Check())
	h := r.HeldAt(now)
	for i, tier := range metric.Tiers { // as after a change of the policy
		if r[i] > 0 && rapid.IntRange(0, 4).Draw(t, "changed") == 0 {
			h.Since[i] = max(h.Since[i], (now - metric.UnixSec(rapid.IntRange(0, 3*day).Draw(t, "ago"))).Ceil(tier.Width()))
		}
	}
	return h
}

// TestTheTierHoldsTheRange: of random policies, ranges and steps, the tier that is taken
// holds the range unless none does, and the total is that of all events which it holds.
func TestTheTierHoldsTheRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := metric.UnixSec(today + rapid.IntRange(0, 40*day).Draw(t, "now"))
		h := drawHeld(t, now)
		span := rapid.SampledFrom([]int{300, 5000, 2 * day, 9 * day, 50 * day}).Draw(t, "span")
		sources := []*fakeSource{{series: map[metric.Tagset]map[metric.UnixSec]float64{"": {}}}, {stored: true, series: map[metric.Tagset]map[metric.UnixSec]float64{"": {}}}}
		ever := map[metric.UnixSec]float64{}
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			sec, v := now-metric.UnixSec(rapid.IntRange(0, span).Draw(t, "age")), float64(rapid.IntRange(1, 9).Draw(t, "value"))
			sources[rapid.IntRange(0, 1).Draw(t, "source")].series[""][sec] += v
			ever[sec] += v
		}
		r := Request{Operand: Operand{Metric: "m"}, To: now + 1 - metric.UnixSec(rapid.SampledFrom([]int{0, 0, 1, 3000, 3 * day, 60 * day}).Draw(t, "until")), Limit: 1}
		r.From = r.To - metric.UnixSec(rapid.IntRange(1, 2*span).Draw(t, "back"))
		r.Step = rapid.SampledFrom([]int64{0, 1, 7, 10, 15, 45, 60, 90, 600, 3600, 5400, day}).Draw(t, "step")
		asked := r
		if err := r.align(); err != nil {
			require.ErrorContains(t, err, "are allowed")
			return
		}
		x := &Executor{Acquire: func() (*View, error) {
			return &View{Open: []Source{sources[0]}, OpenDone: func() {}, Store: sources[1], Held: func(metric.ID) metric.Held { return h }, Close: func() {}}, nil
		}}
		got, err := x.Run(context.Background(), r)
		require.NoError(t, err)

		require.True(t, h.Keeps(got.Tier))
		require.Zero(t, got.Step%got.Tier.Width(), "a bucket is split")
		require.GreaterOrEqual(t, got.Step, r.Step)
		require.Zero(t, int64(got.From)%got.Step)
		require.Zero(t, int64(got.To)%got.Step)
		require.LessOrEqual(t, got.From, asked.From)
		require.GreaterOrEqual(t, got.To, asked.To)
		if r.Auto {
			require.Contains(t, autoSteps, got.Step)
		} else {
			require.Less(t, got.Step, r.Step+got.Tier.Width(), "longer than need be")
		}
		holds := h.Holds(got.Tier, got.From)
		said := 0
		for _, tier := range metric.Tiers {
			if !h.Keeps(tier) {
				continue
			}
			step := (r.Step + tier.Width() - 1) / tier.Width() * tier.Width()
			if !holds {
				require.False(t, h.Holds(tier, r.From.Floor(step)), "%s holds the range, %s does not", tier, got.Tier)
				require.LessOrEqual(t, h.From(got.Tier), h.From(tier), "%s holds more", tier)
			}
			if h.Holds(tier, r.From) && r.Step%tier.Width() == 0 {
				require.Equal(t, r.Step, got.Step, "%s needs no other step", tier)
				require.GreaterOrEqual(t, got.Tier, tier, "a finer tier than need be")
			}
		}
		if !holds {
			said++
		}
		if got.Step != r.Step && !r.Auto {
			said++
		}
		if len(ever) > 0 {
			require.Len(t, got.Warnings, said, got.Warnings)
		}
		want := 0.0
		for sec, v := range ever {
			if sec >= max(got.From, h.From(got.Tier)) && sec < got.To {
				want += v
			}
		}
		require.Equal(t, want, got.Total)
	})
}

// TestTotalsOfWhatSeveralHold asks for one range in all steps.
func TestTotalsOfWhatSeveralHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := metric.UnixSec(today + rapid.IntRange(0, 40*day).Draw(t, "now"))
		h := held(t, "1s:24h,10s:7d,1m:30d,1h:400d", now)
		from := now.Floor(3600) - 3600*metric.UnixSec(rapid.IntRange(1, 22).Draw(t, "hours"))
		src := &fakeSource{stored: true, series: map[metric.Tagset]map[metric.UnixSec]float64{"": {}}}
		want := 0.0
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			sec := now.Floor(3600) - 1 - metric.UnixSec(rapid.IntRange(0, 30*3600).Draw(t, "age"))
			src.series[""][sec]++
			if sec >= from {
				want++
			}
		}
		for step, tier := range map[int64]metric.Tier{3600: metric.Tier1h, 1800: metric.Tier1m, 450: metric.Tier10s, 25: metric.Tier1s} {
			x := &Executor{Acquire: func() (*View, error) {
				return &View{OpenDone: func() {}, Store: src, Held: func(metric.ID) metric.Held { return h }, Close: func() {}}, nil
			}}
			got, err := x.Run(context.Background(), Request{Operand: Operand{Metric: "m"}, From: from, To: now.Floor(3600), Step: step, Limit: 1})
			require.NoError(t, err)
			require.Equal(t, tier, got.Tier)
			require.Equal(t, want, got.Total, "step %d", step)
		}
	})
}
