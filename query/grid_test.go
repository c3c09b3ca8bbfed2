package query

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/metric"
)

func inZone(t require.TestingT, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	require.NoError(t, err)
	return zone
}

func TestDaysOfAZone(t *testing.T) {
	berlin := inZone(t, "Europe/Berlin")
	at := func(zone *time.Location, s string) metric.UnixSec {
		v, err := time.ParseInLocation("2006-01-02 15:04", s, zone)
		require.NoError(t, err)
		return metric.SecOf(v)
	}
	for _, c := range []struct {
		zone     *time.Location
		span     Span
		from, to string
		starts   []string
		hours    []int64
	}{
		{berlin, Span{Days: 1}, "2026-03-28 12:00", "2026-03-30 12:00", []string{"2026-03-28 00:00", "2026-03-29 00:00", "2026-03-30 00:00", "2026-03-31 00:00"}, []int64{24, 23, 24}},
		{berlin, Span{Days: 1}, "2026-10-24 00:00", "2026-10-26 00:00", []string{"2026-10-24 00:00", "2026-10-25 00:00", "2026-10-26 00:00"}, []int64{24, 25}},
		{berlin, Span{Days: 7}, "2026-11-25 10:00", "2026-11-30 00:01", []string{"2026-11-23 00:00", "2026-11-30 00:00", "2026-12-07 00:00"}, []int64{168, 168}},
		{berlin, Span{Months: 1}, "2026-02-10 00:00", "2026-04-01 00:00", []string{"2026-02-01 00:00", "2026-03-01 00:00", "2026-04-01 00:00"}, []int64{28 * 24, 31*24 - 1}},
		{time.UTC, Span{Months: 12}, "2026-02-10 00:00", "2027-01-01 00:00", []string{"2026-01-01 00:00", "2027-01-01 00:00"}, []int64{365 * 24}},
		{time.UTC, Span{Months: 3}, "2026-02-10 00:00", "2026-04-02 00:00", []string{"2026-01-01 00:00", "2026-04-01 00:00", "2026-07-01 00:00"}, []int64{90 * 24, 91 * 24}},
		// In Santiago the clocks went from midnight to one o'clock.
		{inZone(t, "America/Santiago"), Span{Days: 1}, "2024-09-07 12:00", "2024-09-08 12:00", []string{"2024-09-07 00:00", "2024-09-08 01:00", "2024-09-09 00:00"}, []int64{24, 23}},
	} {
		g := CalendarGrid(at(c.zone, c.from), at(c.zone, c.to), c.span, c.zone)
		require.Equal(t, len(c.starts)-1, g.Len(), c.from)
		for i, s := range c.starts {
			require.Equal(t, at(c.zone, s), g.Start(i), "%s: step %d begins at %s", c.from, i, g.Start(i).Time().In(c.zone))
		}
		for i, h := range c.hours {
			require.Equal(t, h*3600, g.Width(i), c.from)
		}
	}
}

// TestMidnightThatComesTwice: in Amman the hour after it did, and the day began with the first.
func TestMidnightThatComesTwice(t *testing.T) {
	amman := inZone(t, "Asia/Amman")
	before := metric.SecOf(time.Date(2021, 10, 28, 12, 0, 0, 0, amman))
	g := CalendarGrid(before, before+day, Span{Days: 1}, amman)
	require.Equal(t, before+12*3600, g.Start(1))
	require.EqualValues(t, 25*3600, g.Width(1))
}

// TestGridsCoverTheirRange: of any range, zone and span.
func TestGridsCoverTheirRange(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "America/Santiago", "Asia/Kathmandu", "Australia/Lord_Howe"}
	rapid.Check(t, func(t *rapid.T) {
		from := metric.UnixSec(rapid.Int64Range(0, 1_900_000_000).Draw(t, "from"))
		to := from + metric.UnixSec(rapid.Int64Range(1, 400*day).Draw(t, "length"))
		var g Grid
		if rapid.Bool().Draw(t, "even") {
			g = EvenGrid(from, to, rapid.SampledFrom([]int64{60, 3600, 7000, day}).Draw(t, "step"))
		} else {
			span := rapid.SampledFrom([]Span{{Days: 1}, {Days: 2}, {Days: 7}, {Days: 14}, {Months: 1}, {Months: 5}, {Months: 12}}).Draw(t, "span")
			g = CalendarGrid(from, to, span, inZone(t, rapid.SampledFrom(zones).Draw(t, "zone")))
		}
		require.LessOrEqual(t, g.From, from)
		require.GreaterOrEqual(t, g.To, to)
		require.Equal(t, g.From, g.Start(0))
		require.Equal(t, g.To, g.Start(g.Len()))
		require.Greater(t, g.Start(1), from, "the first step is in the range")
		require.Less(t, g.Start(g.Len()-1), to, "and so is the last")
		sec := metric.UnixSec(rapid.Int64Range(int64(g.From), int64(g.To)-1).Draw(t, "sec"))
		p := g.Place(sec)
		require.LessOrEqual(t, g.Start(p), sec)
		require.Greater(t, g.Start(p+1), sec)
		before := 0
		for i := range g.Len() {
			require.Positive(t, g.Width(i))
			if g.Start(i) < sec {
				before++
			}
		}
		require.Equal(t, before, g.Until(sec))
		for _, tier := range metric.Tiers {
			w := g.widened(tier)
			require.True(t, w.Divides(tier))
			require.LessOrEqual(t, w.From, from)
			require.GreaterOrEqual(t, w.To, to)
			if g.Divides(tier) {
				require.True(t, w.equal(&g))
			}
		}
		s := g.Shifted(-7200)
		require.Equal(t, g.Len(), s.Len())
		require.Equal(t, g.Start(p)-7200, s.Start(p))
		back := s.Shifted(7200)
		require.True(t, back.equal(&g))
	})
}
