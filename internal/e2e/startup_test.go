package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireSentence fails unless every line on standard error is one for people.
func requireSentence(t testing.TB, stderr string) {
	t.Helper()
	requireNoTrace(t, stderr)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	require.Contains(t, lines[0], "cairn: ")
	require.Less(t, len(lines), 20, "that is no sentence:\n%s", stderr)
}

// refuse starts a server that must refuse, and returns what it said on standard
// error.
func refuse(t *testing.T, code int, env []string, args ...string) string {
	t.Helper()
	s := launch(t, env, args...)
	require.Equal(t, code, s.Wait(), s.Output())
	require.Empty(t, s.stdout.String(), "it said that it was ready")
	requireSentence(t, s.stderr.String())
	return s.stderr.String()
}

func TestPortsInUse(t *testing.T) {
	t.Parallel()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()
	other := startServer(t)
	other.Send("a:1|c")
	other.AwaitReceived(1)

	for name, c := range map[string]struct{ flag, address, says string }{
		"UDP":                {"--udp", udp.LocalAddr().String(), "in use"},
		"HTTP":               {"--http", tcp.Addr().String(), "in use"},
		"UDP of another":     {"--udp", other.UDP, "in use"},
		"HTTP of another":    {"--http", other.HTTP, "in use"},
		"UDP not this host":  {"--udp", "192.0.2.1:8125", "cannot assign"},
		"HTTP not this host": {"--http", "192.0.2.1:8127", "cannot assign"},
	} {
		t.Run(name, func(t *testing.T) {
			says := refuse(t, 1, nil, c.flag, c.address)
			require.Contains(t, says, c.address)
			require.Contains(t, says, c.says)
		})
	}
	other.Send("a:1|c")
	other.AwaitReceived(2) // nobody shares its port
	other.RequireTotal(2, "a")
}

func TestAfterARefusalTheDataDirIsFree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()
	refuse(t, 1, nil, "--data-dir", dir, "--http", tcp.Addr().String())
	startServer(t, "--data-dir", dir).MustStop()
}

func TestDataDirThatCannotBe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("not a directory"), 0o600))
	for name, dir := range map[string]string{
		"a file":       file,
		"below a file": filepath.Join(file, "data"),
		"in /proc":     "/proc/cairn", // where root cannot write either
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat("/proc/self"); err != nil && name == "in /proc" {
				t.Skip("there is no /proc here")
			}
			require.Contains(t, refuse(t, 1, nil, "--data-dir", dir), dir)
		})
	}
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "not a directory", string(b))
}

func TestADeepDataDirIsMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b c", "d")
	startServer(t, "--data-dir", dir).MustStop()
	require.DirExists(t, dir)
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"unknown":   {[]string{"--no-such-flag"}, []string{"no-such-flag"}},
		"no number": {[]string{"--readers", "two"}, []string{"readers", "two"}},
		"argument":  {[]string{"surplus"}, []string{"surplus"}},
		"ranges": {
			[]string{"--grace", "0s", "--flush-interval", "1500ms", "--readers", "0", "--max-series", "0", "--cache", "1KiB", "--log-level", "loud", "--log-format", "xml", "--udp-buffer", "1"},
			[]string{"grace", "flush-interval", "readers", "max-series", "cache", "log-level", "loud", "log-format", "xml", "udp-buffer"},
		},
		"addresses": {[]string{"--udp", "localhost", "--http", "127.0.0.1:99999"}, []string{"localhost", "99999"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stderr := refuse(t, 2, nil, c.args...)
			for _, s := range c.says {
				require.Contains(t, stderr, s)
			}
		})
	}
}

func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	stderr := refuse(t, 2, []string{"CAIRN_GRACE=abc", "CAIRN_MAX_SERIES=many", "CAIRN_CACHE=64MB"})
	for _, s := range []string{"CAIRN_GRACE", "abc", "CAIRN_MAX_SERIES", "many", "CAIRN_CACHE", "64MB"} {
		require.Contains(t, stderr, s)
	}
	require.Equal(t, 3, strings.Count(stderr, "cairn: "), "three problems, each told once:\n%s", stderr)
}

// yamlFile writes a configuration file and returns its path.
func yamlFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cairn.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestBadConfigurationFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text     string
		problems int
		says     []string // %s is the file
	}{
		"all problems at once": {
			"# a comment\ngrace: 5s\ngracie: 5s\nlog-level: loud\nreaders: [1, 2]\nflush-interval: soon\nmax_series: 10\n", 5,
			[]string{`%s:3:`, `"gracie"`, "log-level", "loud", `%s:5:`, "flush-interval", "soon", `%s:7:`, `"max_series"`},
		},
		"a key twice":   {"grace: 5s\ngrace: 6s\n", 1, []string{"%s", "grace"}},
		"no YAML":       {"grace: [\n", 1, []string{"%s"}},
		"no mapping":    {"- grace\n", 1, []string{"%s"}},
		"an empty name": {"'': 5s\n", 1, []string{"%s:1:"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := yamlFile(t, c.text)
			stderr := refuse(t, 2, nil, "--config", path)
			for _, s := range c.says {
				require.Contains(t, stderr, strings.ReplaceAll(s, "%s", path))
			}
			require.Equal(t, c.problems, strings.Count(stderr, "cairn: "), "each problem is told once:\n%s", stderr)
		})
	}
	missing := filepath.Join(t.TempDir(), "none.yaml")
	require.Contains(t, refuse(t, 2, nil, "--config", missing), missing)
	require.Contains(t, refuse(t, 2, []string{"CAIRN_CONFIG=" + missing}), missing)
}

func TestPrecedenceOfSettings(t *testing.T) {
	t.Parallel()
	grace := func(env []string, args ...string) (seconds int64) {
		t.Helper()
		s := startWith(t, env, args...)
		var status struct {
			Grace int64 `json:"grace"`
		}
		s.getJSON("/api/status", nil, &status)
		s.MustStop()
		return status.Grace
	}
	file := yamlFile(t, "grace: 40s\n")
	require.Equal(t, int64(10), grace(nil), "default")
	require.Equal(t, int64(40), grace(nil, "--config", file), "file before default")
	require.Equal(t, int64(40), grace([]string{"CAIRN_CONFIG=" + file}), "file that the environment names")
	require.Equal(t, int64(30), grace([]string{"CAIRN_GRACE=30s"}, "--config", file), "environment before file")
	require.Equal(t, int64(20), grace([]string{"CAIRN_GRACE=30s"}, "--config", file, "--grace", "20s"), "flag before all")
	require.Equal(t, int64(20), grace([]string{"CAIRN_GRACE=nonsense"}, "--grace", "20s"), "what is overridden is not read")
}
