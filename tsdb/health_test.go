package tsdb

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

func TestStallsAreCountedByReason(t *testing.T) {
	var log bytes.Buffer
	c := clock.NewManual(time.Unix(1000, 0))
	h := newHealth(Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Clock: c})
	l := h.listen(pebbleLogger{log: slog.New(slog.DiscardHandler)}, new(columnGate))
	stall := func(reason string, d time.Duration) {
		l.WriteStallBegin(pebble.WriteStallBeginInfo{Reason: reason})
		c.Advance(d)
		l.WriteStallEnd()
	}
	stall("memtable count limit reached", time.Second)
	stall("L0 file count limit exceeded", 3*time.Second)
	stall("L0 file count limit exceeded", 2*time.Second)
	require.Empty(t, log.String(), "a listener must not log")
	var f Figures
	h.fill(&f)
	require.Equal(t, [numStalls]Stall{{"memtables", 1, time.Second}, {"tables", 2, 5 * time.Second}}, f.Stalls)

	h.tell()
	require.Contains(t, log.String(), "took no writes for 3.0 s, because compactions are behind")
	log.Reset()
	h.tell()
	require.Empty(t, log.String(), "it was told twice")
	stall("memtable count limit reached", time.Second)
	h.tell()
	require.Empty(t, log.String(), "a second is not long")

	// One that goes on is in the figures.
	l.WriteStallBegin(pebble.WriteStallBeginInfo{Reason: "memtable count limit reached"})
	c.Advance(10 * time.Second)
	h.fill(&f)
	require.Equal(t, Stall{"memtables", 3, 12 * time.Second}, f.Stalls[stallMemtables])
	l.WriteStallEnd()
	h.fill(&f)
	require.Equal(t, Stall{"memtables", 3, 12 * time.Second}, f.Stalls[stallMemtables])
}

func TestSlowDiskIsToldOnce(t *testing.T) {
	var log bytes.Buffer
	h := newHealth(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, d := range []time.Duration{2 * time.Second, 4 * time.Second, 3 * time.Second} {
		h.diskSlow(vfs.DiskSlowInfo{Path: "data/store/000004.sst", OpType: vfs.OpTypeSync, Duration: d})
	}
	require.Empty(t, log.String(), "what watches the disk must not write")
	var f Figures
	h.fill(&f)
	require.Equal(t, SlowDisk{3, 4 * time.Second}, f.SlowDisk)
	h.tell()
	h.tell()
	require.Equal(t, 1, strings.Count(log.String(), "the disk is slow"))
	require.Contains(t, log.String(), "000004.sst took 4.0 s or longer")
}

func TestFailuresInTheBackgroundAreCounted(t *testing.T) {
	h := newHealth(Options{Log: slog.New(slog.DiscardHandler)})
	var said string
	l := h.listen(pebbleLogger{log: slog.New(slog.DiscardHandler), fatal: func(s string) { said = s; panic("fatal") }}, new(columnGate))
	for range maxFailures - 1 {
		l.BackgroundError(errors.New("no space"))
	}
	l.FlushEnd(pebble.FlushInfo{}) // one went well
	for range maxFailures - 1 {
		l.BackgroundError(errors.New("no space"))
	}
	var f Figures
	h.fill(&f)
	require.EqualValues(t, 2*(maxFailures-1), f.Failed)
	require.Empty(t, said)
	require.PanicsWithValue(t, "fatal", func() { l.BackgroundError(errors.New("no space")) })
	require.Contains(t, said, "again and again: no space")
}

// TestFigures writes to a store on the real disk, which is watched.
func TestFigures(t *testing.T) {
	s, err := Open(t.TempDir(), Options{BulkRows: 2, Fatal: func(s string) { panic(s) }})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	require.NotNil(t, s.watching)
	before := s.Figures()
	for sec := range metric.UnixSec(3) {
		b := s.NewBatch()
		for _, name := range []string{"a", "b", "c"} {
			r, err := b.Ref(metric.Series{ID: metric.ID{Name: name, Kind: metric.Counter}})
			require.NoError(t, err)
			require.NoError(t, b.Add(r, []metric.Sum{{Sec: 7200 + sec, Value: 1, Events: 1}}))
		}
		require.NoError(t, b.Commit())
		b.Publish()
	}
	f := s.Figures()
	require.Greater(t, f.TablesIngested, before.TablesIngested)
	require.Greater(t, f.Ingested, before.Ingested)
	require.Positive(t, f.Tables)
	require.Positive(t, f.L0Sublevels)
	require.GreaterOrEqual(t, f.ReadAmp, f.L0Sublevels)
	require.Positive(t, f.MemtableBytes)
	require.Zero(t, f.Failed)

	start, end := []byte{0}, []byte{0xff}
	require.NoError(t, s.db.Compact(t.Context(), start, end, false))
	f = s.Figures()
	require.Positive(t, f.Compactions)
	require.Positive(t, f.CompactedOut)
	require.Positive(t, f.CompactedIn)
	require.Zero(t, f.L0Tables)
}
