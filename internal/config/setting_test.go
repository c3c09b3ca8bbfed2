package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSettingsSayWhereTheyComeFrom: the value is the one in force, and its source the one that
// went first.
func TestSettingsSayWhereTheyComeFrom(t *testing.T) {
	file := "readers: 3\ngrace: 3s\nmax-series: 300000\nudp: ['127.0.0.1:1', '127.0.0.1:2']\nretention-overrides:\n  debug.: 1s:1h,10s:1d\n"
	env := map[string]string{"CAIRN_READERS": "4", "CAIRN_GRACE": "4s", "CAIRN_CACHE": "32MiB"}
	c, err := load(t, file, env, "--readers", "5")
	require.NoError(t, err)
	got := map[string]Setting{}
	for _, s := range c.Settings {
		require.NotContains(t, got, s.Name)
		require.NotEmpty(t, s.About)
		require.NotContains(t, s.About, "`")
		got[s.Name] = s
	}
	for name, want := range map[string][3]string{
		"readers": {"5", FromFlag, "--readers"}, "grace": {"4s", FromEnvironment, "CAIRN_GRACE"}, "cache": {"32MiB", FromEnvironment, "CAIRN_CACHE"},
		"flush-interval": {"10s", FromDefault, ""}, "log-level": {"info", FromDefault, ""}, "allow-delete": {"false", FromDefault, ""},
	} {
		require.Equal(t, want, [3]string{got[name].Value, got[name].From, got[name].Where}, name)
	}
	require.Equal(t, "2", got["readers"].Default)
	require.Equal(t, []string{"127.0.0.1:1,127.0.0.1:2", FromFile}, []string{got["udp"].Value, got["udp"].From})
	require.Contains(t, got["udp"].Where, "cairn.yaml")
	require.Equal(t, "debug.: 1s:1h,10s:1d", got[overridesName].Value)
	require.Equal(t, FromFile, got[overridesName].From)
	require.NotContains(t, got, "config")
	require.NotContains(t, got, "help")
}
