package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// load runs one command line with an environment and a file.
func load(t *testing.T, file string, env map[string]string, args ...string) (Config, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "cairn.yaml")
		require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
		args = append(args, "--config", path)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	l := NewLoader(flags)
	require.NoError(t, flags.Parse(args))
	return l.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
}

func TestDefaultsAreGood(t *testing.T) {
	c, err := load(t, "", nil)
	require.NoError(t, err)
	c.Settings = nil
	require.Equal(t, Config{
		UDP: []Listen{{"dogstatsd", "127.0.0.1:8125"}}, UDSMode: 0o722, HTTP: "127.0.0.1:8127", DataDir: "./data", Grace: 10 * time.Second, FlushInterval: 10 * time.Second,
		Readers: 2, UDPBuffer: 64 << 20, Line: metric.DefaultLineLimits, MaxMetrics: 100_000,
		MaxSeries: 1_000_000, MaxSeriesPerMetric: 100_000, Cache: 64 << 20, Query: Query{AtOnce: 8, Time: 10 * time.Second, Series: 1_000_000, Samples: 500_000_000, Cache: 32 << 20}, Retention: metric.Policy{Default: metric.DefaultRetention}, JournalSync: true, JournalUDP: true, JournalRetention: time.Hour, JournalSize: 1 << 30, LogLevel: "info", LogFormat: "text",
	}, c)
}

func TestPrecedence(t *testing.T) {
	file := "readers: 3\ngrace: 3s\nmax-series: 300000\n"
	env := map[string]string{"CAIRN_READERS": "4", "CAIRN_GRACE": "4s", "CAIRN_ALLOW_DELETE": "true"}
	c, err := load(t, file, env, "--readers", "5")
	require.NoError(t, err)
	require.Equal(t, 5, c.Readers, "the command line goes first")
	require.Equal(t, 4*time.Second, c.Grace, "then the environment")
	require.Equal(t, 300_000, c.MaxSeries, "then the file")
	require.Equal(t, 10*time.Second, c.FlushInterval, "then the default")
	require.True(t, c.AllowDelete, "a switch, too")
}

func TestFileFromTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte("udp-buffer: 1MiB\nudp: '[::1]:9'"), 0o600))
	c, err := load(t, "", map[string]string{"CAIRN_CONFIG": path})
	require.NoError(t, err)
	require.Equal(t, 1<<20, c.UDPBuffer)
	require.Equal(t, []Listen{{"dogstatsd", "[::1]:9"}}, c.UDP)
}

func TestAllProblemsAtOnce(t *testing.T) {
	file := "# a comment\nreeders: 3\ngrace: [1s, 2s]\nreaders: many\n"
	env := map[string]string{"CAIRN_MAX_SERIES": "lots", "CAIRN_CACHE": "12 parsecs", "CAIRN_FLUSH_INTERVAL": "1500ms"}
	_, err := load(t, file, env, "--udp", "here", "--http", "x:99999", "--log-level", "loud")
	require.Error(t, err)
	for _, part := range []string{
		`cairn.yaml:2: there is no setting "reeders"; there are allow-delete, cache, data-dir`,
		`cairn.yaml:3: grace must be one value`,
		`cairn.yaml: readers: "many"`,
		`CAIRN_MAX_SERIES: "lots"`,
		`CAIRN_CACHE: "12 parsecs"`,
		`flush-interval: 1.5s is not whole seconds`,
		`udp: "here" is not host:port`,
		`http: port "99999"`,
		`log-level: "loud"`,
	} {
		require.ErrorContains(t, err, part)
	}
	require.Equal(t, 9, len(strings.Split(err.Error(), "\n")), err.Error())
}

func TestMissingOrBrokenFile(t *testing.T) {
	_, err := load(t, "", nil, "--config", "/nowhere.yaml")
	require.ErrorContains(t, err, "/nowhere.yaml: no such file")
	_, err = load(t, "a: [", nil)
	require.ErrorContains(t, err, "cairn.yaml")
	_, err = load(t, "- a\n- b\n", nil)
	require.ErrorContains(t, err, "cairn.yaml")
}

func TestSizes(t *testing.T) {
	var n int
	s := newSize(&n, 16<<20)
	require.Equal(t, "16MiB", s.String())
	for text, want := range map[string]int{"0": 0, "17": 17, "17B": 17, "4KiB": 4096, "1GiB": 1 << 30} {
		require.NoError(t, s.Set(text))
		require.Equal(t, want, n)
	}
	for _, text := range []string{"", "MiB", "-1", "1MB", "1.5MiB", "9999999999999", "1099511627776GiB", "1 MiB"} {
		require.Error(t, s.Set(text), text)
	}
}
