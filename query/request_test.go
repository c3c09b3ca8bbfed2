package query

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

func TestParseRequest(t *testing.T) {
	const now = 1_700_000_003
	r, err := parse(t, map[string][]string{"metric": {"signups"}}, now)
	require.NoError(t, err)
	require.Equal(t, Request{Operand: Operand{Metric: "signups"}, From: 1_699_996_400, To: 1_700_000_010, Step: 10, Auto: true, Limit: 100}, r,
		"the last hour, up to and with the current second, widened to whole steps")
	r, err = parse(t, map[string][]string{
		"metric": {"m"}, "by": {"a,b", "a"}, "from": {"2023-11-14T22:13:20Z"}, "to": {"now-1s"}, "step": {"1m30s"}, "fn": {"rate"}, "limit": {"7"},
	}, now)
	require.NoError(t, err)
	require.Equal(t, Grouping{Keys: []string{"a", "b"}}, r.Group)
	require.EqualValues(t, 90, r.Step)
	require.EqualValues(t, 1_699_999_920, r.From)
	require.EqualValues(t, 1_700_000_010, r.To)
}

func TestAutoStep(t *testing.T) {
	for span, step := range map[string]int64{"5m": 1, "15m": 5, "1h": 10, "6h": 60, "24h": 300, "7d": 1800, "30d": 3 * 3600, "400d": 86400, "4000d": 7 * 86400} {
		r, err := parse(t, map[string][]string{"metric": {"m"}, "from": {"-" + span}}, 1_700_000_000)
		require.NoError(t, err)
		require.Equal(t, step, r.Step, span)
		require.LessOrEqual(t, int64(r.To-r.From)/r.Step, int64(600))
	}
}

func TestBadParameters(t *testing.T) {
	for _, c := range []struct {
		param, value, says string
	}{
		{"metric", "", "missing"},
		{"from", "yesterday", "Unix seconds, RFC 3339"},
		{"from", "-", "distance back"},
		{"from", "-1x", "distance back"},
		{"from", "1700000000000000", "milliseconds are not"},
		{"from", "NaN", "out of range"},
		{"from", "2023-13-01T00:00:00Z", "RFC 3339"},
		{"from", "1960-01-01T00:00:00Z", "before 1970"},
		{"to", "0", "is not before to"},
		{"to", "x", "Unix seconds"},
		{"step", "fast", "use auto"},
		{"step", "0s", "use auto"},
		{"step", "10", "use auto"},
		{"step", "1.5s", "use auto"},
		{"step", "99999999999999999999s", "use auto"},
		{"fn", "median", "counters have count, rate; gauges last"},
		{"fn", "p101", "is not known"},
		{"fn", "p", "is not known"},
		{"fn", "p1e1", "is not known"},
		{"fn", "above:x", "needs a number after the colon"},
		{"fn", "below:", "needs a number after the colon"},
		{"kind", "meter", "use counter, gauge, distribution or set"},
		{"limit", "0", "from 1 to 1000"},
		{"limit", "many", "from 1 to 1000"},
		{"filter", ":x", "no tag key"},
		{"filter", "!", "no tag key"},
		{"foo", "1", "there are metric, filter"},
	} {
		params := map[string][]string{"metric": {"m"}}
		params[c.param] = []string{c.value}
		_, err := parse(t, params, 1_700_000_000)
		var p *ParamError
		require.ErrorAs(t, err, &p, "%s=%s", c.param, c.value)
		require.Contains(t, p.Sentence, c.says, "%s=%s", c.param, c.value)
		if c.says != "is not before to" {
			require.Equal(t, c.param, p.Param)
		}
	}
	_, err := parse(t, map[string][]string{"metric": {"m"}, "from": {"-400d"}, "step": {"1s"}}, 1_700_000_000)
	require.ErrorContains(t, err, "11000 are allowed")
	_, err = parse(t, map[string][]string{"metric": {"a", "b"}}, 1_700_000_000)
	require.ErrorContains(t, err, "given 2 times")
}

func TestDurations(t *testing.T) {
	for s, want := range map[string]int64{"1s": 1, "90s": 90, "1h30m": 5400, "2w": 14 * 86400, "1d1s": 86401} {
		got, err := ParseDuration(s)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, s := range []string{"", "s", "1", "1h30", "-1s", "1 s", "1ms", "101w99999999w"} {
		_, err := ParseDuration(s)
		require.Error(t, err, s)
	}
}

func TestFilters(t *testing.T) {
	ts := metric.NewTagset([]metric.Tag{{Key: "env", Value: "prod"}, {Key: "host", Value: "web-01.eu"}, {Key: "canary"}, {Key: "a|b", Value: "x*y"}})
	for filter, want := range map[string]bool{
		"env:prod": true, "env:dev": false, "!env:prod": false, "!env:dev": true, "!none:x": true, "none:*": false,
		"env:dev|prod": true, "env:*": true, "!env:*": false, "host:web-*": true, "host:*eu": true, "host:w*01*u": true,
		"host:w*02*": false, "host:web-01.eu*": true, "host:*web-01.eu": true, "host:web-01.eu*web-01.eu": false,
		"canary": true, "canary:": true, "env": false, "env:": false, "canary:*": true,
		`a|b:x\*y`: true, `a\|b:x\*y`: true, `a|b:x\*z`: false, `a|b:x*y`: true, `a|b:*\**`: true,
		"env=prod": true, "env!=prod": false, "env=~p.*": true, "env!~p.*": false, "env=p*": false, "env=~p*": false,
		"none=": true, "none!=": false, "none=~.*": true, "none=~.+": false, "canary=": true, "none!=x": true,
		`host=~web-\d+\.eu`: true, `host!~web-\d\.eu`: true, "env:a=b": false, "!env:a=b": true, `a|b=x*y`: true, `a\=b:c`: false, `!a\=b:c`: true,
		"env!:x": false, `e\nv=prod`: true, "env=a:b": false, "env!=a:b": true,
	} {
		f, err := ParseFilter(filter)
		require.NoError(t, err)
		require.Equal(t, want, f.Match(ts), filter)
	}
	for filter, want := range map[string]string{
		"": "has no tag key", "!": "has no tag key", ":x": "has no tag key", "=x": "has no tag key", "!=x": "has no tag key", "=~x": "has no tag key",
		"!a=b": "both a ! before the key and an operator", "a=~(": "cannot be read: missing closing )", "a!~[": "cannot be read",
	} {
		_, err := ParseFilter(filter)
		require.ErrorContains(t, err, want, filter)
	}
}

// TestPatternAgainstRecursion compares the greedy matcher with one that tries
// everything.
func TestPatternAgainstRecursion(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		text, spec := strings.Map(onlyAB, randomText(rng)), strings.Map(onlyABStar, randomText(rng)+randomText(rng))
		f, err := ParseFilter("k:" + spec)
		require.NoError(t, err)
		ts := metric.NewTagset([]metric.Tag{{Key: "k", Value: text}})
		require.Equal(t, slowMatch(spec, text), f.Match(ts), "%q on %q", spec, text)
	}
}

func onlyAB(r rune) rune {
	if r == 'a' || r == 'b' {
		return r
	}
	return -1
}

func onlyABStar(r rune) rune {
	if r == '*' {
		return r
	}
	return onlyAB(r)
}

func slowMatch(spec, s string) bool {
	if spec == "" {
		return s == ""
	}
	if spec[0] == '*' {
		return slowMatch(spec[1:], s) || s != "" && slowMatch(spec, s[1:])
	}
	return s != "" && s[0] == spec[0] && slowMatch(spec[1:], s[1:])
}

func FuzzFilter(f *testing.F) {
	f.Add(`!env:a|b*\|`, "a")
	f.Fuzz(func(t *testing.T, filter, value string) {
		flt, err := ParseFilter(filter)
		if err != nil {
			return
		}
		yes := flt.Match(metric.NewTagset([]metric.Tag{{Key: flt.Key, Value: value}}))
		other := *flt
		flt = &other
		flt.Not = !flt.Not
		if yes == flt.Match(metric.NewTagset([]metric.Tag{{Key: flt.Key, Value: value}})) {
			t.Fatalf("%q both matches %q and does not", filter, value)
		}
	})
}
