//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cairn/internal/bench/report"
	"cairn/internal/clock"
	"cairn/internal/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	s, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 100_000, s.series)
	require.Len(t, s.run, len(parts))
	for args, want := range map[string]string{
		"-run size,flash": `no part "flash"; there are size,flush`,
		"-flushes 0":      "0 is not between 1 and 3600",
		"-series 1000001": "1000001 is not between 1 and 1000000",
	} {
		_, err := parse(strings.Fields(args), io.Discard)
		require.ErrorContains(t, err, want)
	}
}

func TestParseLine(t *testing.T) {
	l, sec, err := parseLine([]byte("shop.metric_07:115|c|#env:prod,region:us-east-1,host:web-001|T1699999200"))
	require.NoError(t, err)
	require.Equal(t, line{[]byte("shop.metric_07"), []byte("#env:prod,region:us-east-1,host:web-001"), 115}, l)
	require.Equal(t, begin, sec)
	for _, bad := range []string{"", "a:x|c|#b:c|T1", "a:1|c|#b:c", "a:1|g|#b:c|T1", "a:1|c|#b:c|T-1"} {
		_, _, err := parseLine([]byte(bad))
		require.ErrorContains(t, err, "of the data set", bad)
	}
}

func TestMarkdown(t *testing.T) {
	text := markdown([]row{{what: "w", got: "1", bar: "≤ 2", ok: report.Verdict(true)}, {what: "x", ok: report.Verdict(false)}}, "-run size", time.Unix(0, 0))
	require.Contains(t, text, "(`go run ./internal/bench/store -run size`), 1970-01-01")
	require.Contains(t, text, "| w | 1 | ≤ 2 | OK |")
	require.Contains(t, text, "| **MISSED** |")
}

func TestWeigh(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1.sst", "2.log", "3.log", "MANIFEST"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), 4096), 0o600))
	}
	w, err := weigh(dir)
	require.NoError(t, err)
	require.Positive(t, w.tables)
	require.Equal(t, 2*w.tables, w.logs)
	require.Equal(t, w.tables, w.others)
	require.Equal(t, 4*w.tables, w.all())
}

// TestFlushes runs a part of a run, small: all that is fed must be in the store.
func TestFlushes(t *testing.T) {
	b := &bench{settings: settings{flushes: 3, series: 50}, clock: clock.NewSystem(), out: io.Discard}
	c, err := b.costs(context.Background(), t.TempDir())
	require.NoError(t, err)
	require.Equal(t, 3, c.flushes)
	require.Positive(t, c.flush)
	require.Positive(t, c.longest)
	rows, err := b.flush(context.Background(), t.TempDir())
	require.NoError(t, err)
	require.Len(t, rows, 2)
}

func TestRigStoresWhatItIsFed(t *testing.T) {
	dir := t.TempDir()
	r, err := openRig(dir, 30, begin, metric.Policy{})
	require.NoError(t, err)
	e := shuffled(30)
	for range 20 {
		require.NoError(t, r.second(e))
		*e = *shuffled(30)
	}
	require.NoError(t, r.pump.Close())
	require.NoError(t, r.store.Compact(t.Context()))
	require.EqualValues(t, 600, r.store.Totals().Events)
	for _, tier := range metric.Tiers {
		n, err := r.store.TierBytes(tier)
		require.NoError(t, err)
		require.Positive(t, n, tier)
	}
	require.NoError(t, r.store.Close())
	var out bytes.Buffer
	require.NoError(t, openAndTell(dir, &out))
	f := strings.Fields(out.String())
	require.Len(t, f, 3)
	require.Equal(t, "30", f[1])
}
