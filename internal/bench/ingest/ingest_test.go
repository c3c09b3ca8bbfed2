//go:build linux

package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cairn/internal/bench/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte("7 (a ) b) S 1 7 7 0 -1 4194560 2 3 4 5 120 34 6 7 20 0 4 0 99 1 2"))
	require.NoError(t, err)
	require.Equal(t, 1540*time.Millisecond, got)
	for _, bad := range []string{"", "7 (a) S 1 2", "7 (a) S 1 7 7 0 -1 4194560 2 3 4 5 x 34"} {
		_, err := parseStat([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestParseUDP(t *testing.T) {
	const head = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
	line := func(address string) string {
		return " 4534: " + address + " 00000000:0000 07 00000000:0000001F 00:00000000 00000000     0        0 29041 2 000000002e4ff4dd 3908      \n"
	}
	s, err := parseUDP(head+line("0100007F:26E3")+line("0100007F:26E4"), 0x26e3)
	require.NoError(t, err)
	require.Equal(t, socket{31, 3908}, s)
	_, err = parseUDP(head+line("0100007F:26E4"), 0x26e3)
	require.ErrorContains(t, err, "has 0 sockets")
	_, err = parseUDP(head+line("0100007F:26E3")+line("0100007F:26E3"), 0x26e3)
	require.ErrorContains(t, err, "has 2 sockets")
}

func TestBalance(t *testing.T) {
	require.NoError(t, balance(10, 3, 7, "events"))
	require.ErrorContains(t, balance(10, 3, 8, "events"), "10 events were sent and 3 dropped")
}

func TestFlagsSayAllProblems(t *testing.T) {
	s, err := parse([]string{"-run", "a,memory"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "memory"}, s.run)
	_, err = parse([]string{"-run", "q", "-rounds", "0", "-secs", "61"}, io.Discard)
	for _, part := range []string{"-run", "-rounds", "-secs"} {
		require.ErrorContains(t, err, part)
	}
}

func TestMarkdown(t *testing.T) {
	sink := []round{{1e6, 10 * time.Millisecond, 1, 0}, {1e6, 30 * time.Millisecond, 1, 0}, {1e6, 20 * time.Millisecond, 1, 0}}
	cairn := []round{{1e6, 60 * time.Millisecond, 1, 0.5}}
	r := results{rows: []row{
		{workload: workloadNamed("a"), sink: sink, cairn: cairn, rest: 0.01},
		{workload: workloadNamed("hot"), sink: sink, cairn: []round{{1e6, 80 * time.Millisecond, 1, 0}}},
		{workload: workloadNamed("set"), sink: sink, cairn: []round{{}}},
	}}
	text := r.markdown("-run a", time.Unix(0, 0).UTC())
	require.Contains(t, text, "go run ./internal/bench/ingest -run a`), 1970-01-01")
	require.Contains(t, text, "| 0.0200 | 0.0700 | 0.0600 | 3.50 | 3.30 | **MISSED** | 1.00 | 6% | 50% |\n")
	require.Contains(t, text, "| 0.0200 | 0.0800 | 0.0800 | 4.00 | 3.50 | **MISSED** |", "the CPU time of a, over its own sink")
	require.Contains(t, text, "| 0.0200 | not counted |")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "|") {
			require.Equal(t, 12, strings.Count(line, "|"), line)
		}
	}
}

func TestWaitedOf(t *testing.T) {
	p, err := child.Start(t.Context(), child.AnyCore, time.Minute, "sleep", "60")
	require.NoError(t, err)
	defer p.Kill()
	waited, err := waitedOf(p.PID())
	require.NoError(t, err)
	require.GreaterOrEqual(t, waited, time.Duration(0))
}
