package e2e

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// result is what a command that ended left.
type result struct {
	code           int
	stdout, stderr string
}

// runCairn runs the binary to its end.
func runCairn(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stopLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var stdout, stderr bytes.Buffer
	cmd.Env, cmd.Dir = cleanEnv(nil), t.TempDir()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, ctx.Err(), "cairn %v does not end", args)
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	r := result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	requireNoTrace(t, r.stderr)
	return r
}

func TestQueryCommand(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Send("orders:3|c|#env:prod,region:eu", "orders:4|c|#env:prod,region:us", "orders:5|c|#env:dev,region:eu")
	s.AwaitReceived(3)
	query := func(args ...string) string {
		t.Helper()
		r := runCairn(t, append([]string{"query", "orders", "--server", "http://" + s.HTTP}, args...)...)
		require.Zero(t, r.code, r.stderr)
		require.Empty(t, r.stderr)
		return r.stdout
	}

	table := query("--by", "env", "--step", "1h")
	require.Contains(t, table, "ENV")
	require.Regexp(t, `(?m)^prod +7 +7 +7 +7\b`, table)
	require.Regexp(t, `(?m)^dev +5 +5 +5 +5\b`, table)
	require.Contains(t, table, "count over the range: 12 units, of 3 series")

	var a answer
	require.NoError(t, json.Unmarshal([]byte(query("--format", "json", "--filter", "env:prod", "--filter", "!region:us")), &a))
	require.Equal(t, 3.0, a.Total)
	require.Equal(t, "orders", a.Metric)

	rows, err := csv.NewReader(strings.NewReader(query("--format", "csv", "--by", "env,region", "--step", "1d", "--from", "-1d"))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"time", "env", "region", "count"}, rows[0])
	got := map[string]string{}
	for _, row := range rows[1:] {
		_, err := time.Parse(time.RFC3339, row[0])
		require.NoError(t, err)
		got[row[1]+"/"+row[2]] = row[3]
	}
	require.Equal(t, map[string]string{"prod/eu": "3", "prod/us": "4", "dev/eu": "5"}, got)
}

// TestTopCommand: one frame, and one line of JSON, of what a server counts.
func TestTopCommand(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Send("orders:3|c|#env:prod", "orders:4|c|#env:dev", "depth\u202e:5|g")
	s.AwaitReceived(3)
	r := runCairn(t, "top", "--once", "--sort", "series", "--server", "http://"+s.HTTP)
	require.Zero(t, r.code, r.stderr)
	require.Regexp(t, `(?m)^orders +counter +2 `, r.stdout)
	require.Regexp(t, `(?m)^depth\\u202e +gauge +1 `, r.stdout)
	require.Contains(t, r.stdout, "accepted 3\n")
	require.Contains(t, r.stdout, "balanced")
	r = runCairn(t, "top", "--once", "--json", "--server", "http://"+s.HTTP)
	require.Zero(t, r.code, r.stderr)
	var line struct {
		Metrics []struct {
			Metric string
			Series int
		}
		Quality struct{ Ledger struct{ Accepted int } }
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &line))
	require.Len(t, line.Metrics, 2)
	require.Equal(t, 3, line.Quality.Ledger.Accepted)
	r = runCairn(t, "top", "--server", "http://"+s.HTTP)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, "no terminal")
}

// TestQueryCommandAsksForAll: what the API can do, the command line can.
func TestQueryCommandAsksForAll(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Send("orders:3|c|#env:prod", "orders:4|c|#env:dev", "orders:5|c|#env:qa", "errors:1|c|#env:prod", "errors:3|c|#env:dev")
	s.AwaitReceived(5)
	query := func(args ...string) string {
		t.Helper()
		r := runCairn(t, append([]string{"query", "--server", "http://" + s.HTTP, "--step", "1h"}, args...)...)
		require.Zero(t, r.code, r.stderr)
		return r.stdout
	}
	folded := query("orders", "--by", "env", "--top", "1")
	require.Regexp(t, `(?m)^qa +5 `, folded)
	require.Regexp(t, `(?m)^\(other\) +7 `, folded)
	require.Contains(t, folded, "count over the range: 12 units, of 3 series")
	ratio := query("--expr", "a / b", "--with", "a.metric=errors", "--with", "b.metric=orders", "--by", "env")
	require.Regexp(t, `(?m)^dev +0\.75 `, ratio)
	require.Contains(t, query("orders", "--shift", "1d"), "count over the range: 0 units")
	require.Contains(t, query("orders", "--by", "*", "--format", "csv"), ",prod,3\n")
	require.Contains(t, query("orders", "--cumulative", "--fill", "zero", "--tz", "Europe/Berlin"), "Europe/Berlin")
	chart := query("orders", "--format", "chart", "--from", "-5h", "--by", "env")
	require.Contains(t, chart, "units per 1h")
	require.Contains(t, chart, " 0 ┼")
	require.Contains(t, chart, "UTC")
}

func TestQueryCommandThatFails(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := free.Addr().String()
	require.NoError(t, free.Close())
	for name, c := range map[string]struct {
		code int
		says string
		args []string
	}{
		"no server":      {1, nobody, []string{"a", "--server", "http://" + nobody}},
		"not Cairn":      {1, "404", []string{"a", "--server", "http://" + s.HTTP + "/elsewhere"}},
		"bad step":       {1, "step", []string{"a", "--server", "http://" + s.HTTP, "--step", "x"}},
		"bad format":     {2, "xml", []string{"a", "--server", "http://" + s.HTTP, "--format", "xml"}},
		"bad server":     {2, "nowhere", []string{"a", "--server", "nowhere"}},
		"no metric":      {2, "query", nil},
		"unknown flag":   {2, "--nothing", []string{"a", "--nothing"}},
		"bad flag value": {2, "many", []string{"a", "--limit", "many"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCairn(t, append([]string{"query"}, c.args...)...)
			require.Equal(t, c.code, r.code, r.stderr)
			require.Empty(t, r.stdout)
			if name != "not Cairn" { // there the sentence is the other server's
				require.Contains(t, r.stderr, c.says)
			}
			requireSentence(t, r.stderr)
		})
	}
	r := runCairn(t, "query", "nothing", "--server", "http://"+s.HTTP)
	require.Zero(t, r.code, "a metric that is not known yet is no failure")
	require.Contains(t, r.stderr, "nothing")
	require.Contains(t, r.stdout, "over the range: 0 units")
}

func TestQueryCommandKeepsTheTerminalSafe(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.Send("a:1|c|#k:\u202e\u200b<b>")
	s.AwaitReceived(1)
	for _, format := range []string{"table", "csv"} {
		r := runCairn(t, "query", "a", "--by", "k", "--format", format, "--server", "http://"+s.HTTP)
		require.Zero(t, r.code)
		require.NotContains(t, r.stdout, "\u202e", "it turns the line around")
	}
}

func TestCommandsWithoutAServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args           []string
		code           int
		stdout, stderr string // patterns
	}{
		"alone":           {nil, 0, `(?s)serve.*query.*version`, `^$`},
		"help":            {[]string{"help"}, 0, `cairn serve`, `^$`},
		"--help":          {[]string{"--help"}, 0, `cairn serve`, `^$`},
		"serve --help":    {[]string{"serve", "--help"}, 0, `--data-dir`, `^$`},
		"version":         {[]string{"version"}, 0, `^cairn \d+\.\d+\.\d+`, `^$`},
		"version --json":  {[]string{"version", "--json"}, 0, `"version":"\d+\.\d+\.\d+"`, `^$`},
		"unknown":         {[]string{"frobnicate"}, 2, `^$`, `frobnicate`},
		"unknown flag":    {[]string{"--frobnicate"}, 2, `^$`, `frobnicate`},
		"surplus":         {[]string{"version", "surplus"}, 2, `^$`, `surplus`},
		"completion bash": {[]string{"completion", "bash"}, 0, `(?s)complete .*cairn`, `^$`},
		"completion zsh":  {[]string{"completion", "zsh"}, 0, `#compdef`, `^$`},
		"completion fish": {[]string{"completion", "fish"}, 0, `complete -c cairn`, `^$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := runCairn(t, c.args...)
			require.Equal(t, c.code, r.code, "%s%s", r.stdout, r.stderr)
			require.Regexp(t, c.stdout, r.stdout)
			require.Regexp(t, c.stderr, r.stderr)
		})
	}
}
