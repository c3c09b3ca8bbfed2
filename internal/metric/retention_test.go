package metric

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseRetention(t *testing.T) {
	r, err := ParseRetention("1s:24h,10s:7d,1m:30d,1h:400d")
	require.NoError(t, err)
	require.Equal(t, DefaultRetention, r)
	require.Equal(t, "1s:1d,10s:7d,1m:30d,1h:400d", r.String())
	r, err = ParseRetention(" 10s:1d12h, 1h:2w")
	require.NoError(t, err)
	require.Equal(t, Retention{0, 36 * 3600, 0, 14 * 86400}, r)
	require.Equal(t, "10s:36h,1h:14d", r.String())
	require.Equal(t, Tier1h, r.Coarsest())
	require.False(t, r.Keeps(Tier1s))
	for text, says := range map[string]string{
		"":                "no tier with its time",
		"1s":              "no tier with its time",
		"2s:1h":           "the tiers are 1s, 10s, 1m and 1h",
		"1s:1":            "no time for the tier 1s",
		"1s:0s":           "no time for the tier 1s",
		"1s:-1h":          "no time for the tier 1s",
		"1s:1h,1s:2h":     "twice",
		"1s:2d,10s:1d":    "a coarser tier must not be shorter",
		"1h:30m":          "shorter than one bucket",
		"1h:9999999999w":  "no time",
		"1h:41000d":       "at most 40000d",
		"1s:1h,,10s:1d":   "no tier",
		"1s:24h;10s:7d":   "no time",
		"1m:99999999999h": "no time",
	} {
		_, err := ParseRetention(text)
		require.ErrorContains(t, err, says, text)
	}
}

// TestRetentionHoldsAtLeast: what a tier promises to keep is in a partition that is held,
// and what is a partition older than that is not.
func TestRetentionHoldsAtLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tier := rapid.SampledFrom(Tiers[:]).Draw(t, "tier")
		keep := rapid.Int64Range(tier.Width(), 500*86400).Draw(t, "keep")
		now := UnixSec(rapid.Int64Range(0, 4_000_000_000).Draw(t, "now"))
		var r Retention
		r[tier-1] = keep
		since, ok := r.Since(tier, now)
		require.True(t, ok)
		require.LessOrEqual(t, since, max(0, now-UnixSec(keep)))
		require.Greater(t, since+UnixSec(tier.Span()), now-UnixSec(keep))
		later, _ := r.Since(tier, now+1)
		require.GreaterOrEqual(t, later, since)
		back, err := ParseRetention(r.String())
		require.NoError(t, err)
		require.Equal(t, r, back)
	})
}

func TestPolicyTakesTheLongestPrefix(t *testing.T) {
	short, long := Retention{3600}, Retention{0, 0, 0, 500 * 86400}
	p := Policy{DefaultRetention, []Override{{"debug.", short}, {"debug.keep.", long}}}
	require.Equal(t, DefaultRetention, p.Of("debug"))
	require.Equal(t, short, p.Of("debug.x"))
	require.Equal(t, long, p.Of("debug.keep.x"))
	require.EqualValues(t, 500*86400, p.Longest())
}
