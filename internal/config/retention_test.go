package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

const hour, day = 3600, 24 * 3600

func TestRetention(t *testing.T) {
	c, err := load(t, "retention: 1m:7d,1h:30d\nretention-overrides:\n  debug.: 1s:1h,10s:1d\n  'debug.more.': 1h:400d\n", nil)
	require.NoError(t, err)
	require.Equal(t, metric.Policy{
		Default: metric.Retention{0, 0, 7 * day, 30 * day},
		Overrides: []metric.Override{
			{Prefix: "debug.", Retention: metric.Retention{hour, day}},
			{Prefix: "debug.more.", Retention: metric.Retention{3: 400 * day}},
		},
	}, c.Retention)
	c, err = load(t, "retention: 1h:30d\n", map[string]string{"CAIRN_RETENTION": "1h:31d"})
	require.NoError(t, err)
	require.Equal(t, metric.Retention{3: 31 * day}, c.Retention.Default)
	c, err = load(t, "", map[string]string{"CAIRN_RETENTION": "1h:31d"}, "--retention", "1s:2h")
	require.NoError(t, err)
	require.Equal(t, metric.Retention{2 * hour}, c.Retention.Default)
}

func TestRetentionProblems(t *testing.T) {
	_, err := load(t, "retention: 1s:2d,1h:1d\nretention-overrides:\n  '': 1s:1h\n  a.: 5s:1h\n  b.: [1s:1h]\n  c.: 1s:1h\n  d.:\nreeders: 1\n", nil)
	require.Error(t, err)
	for _, part := range []string{
		`retention: "1s:2d,1h:1d": 1h is kept for 1d, shorter than 1s for 2d`,
		`cairn.yaml:3: retention-overrides: the prefix is empty`,
		`cairn.yaml:4: retention-overrides: "a.": "5s:1h" is no tier with its time`,
		`cairn.yaml:5: retention-overrides: "b." must be one value`,
		`cairn.yaml:7: retention-overrides: "d.": "" is no tier with its time`,
		`cairn.yaml:8: there is no setting "reeders"`,
	} {
		require.ErrorContains(t, err, part)
	}
	require.Equal(t, 6, len(strings.Split(err.Error(), "\n")), err.Error())
	_, err = load(t, "retention-overrides: 1s:1h\n", nil)
	require.ErrorContains(t, err, "cairn.yaml:1: retention-overrides must be a mapping")
	var many strings.Builder
	many.WriteString("retention-overrides:\n")
	for i := range maxOverrides + 1 {
		fmt.Fprintf(&many, "  p%d: 1s:1h\n", i)
	}
	_, err = load(t, many.String(), nil)
	require.ErrorContains(t, err, "has 101 prefixes; at most 100 are allowed")
}
