package engine

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/crashdisk"
	"cairn/internal/metric"
	"cairn/tsdb"
)

// rewrite makes the golden data dir of the present format again; those of older ones
// are for ever:
//
//	go test ./internal/engine -run TestGolden -rewrite
var rewrite = flag.Bool("rewrite", false, "make testdata/golden of the present format again")

const goldenDir = "testdata/golden"

// goldenEnd is behind all that the golden data dirs hold, and within their retention.
const goldenEnd = begin + 1000

// TestGolden opens a data dir as each format left it when its process was killed: with
// all kinds, tables and a log, sequences, annotations, and a part that is in the journal
// only. Every bucket must be what was written down when it was made, before the part is
// flushed and after, and after another start.
func TestGolden(t *testing.T) {
	if *rewrite {
		writeGolden(t)
	}
	dirs, err := os.ReadDir(goldenDir)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(dirs), 2)
	for _, d := range dirs {
		t.Run(d.Name(), func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join(goldenDir, d.Name(), "expected.txt"))
			require.NoError(t, err)
			w := goldenWorld(t)
			copyIn(t, w.mem, filepath.Join(goldenDir, d.Name(), "data"), "data")
			require.True(t, w.verifyDir().Equal)
			w.open()
			format, err := w.e.Store.FormatOnDisk()
			require.NoError(t, err)
			require.EqualValues(t, tsdb.Format, format)
			w.replay()
			require.NotZero(t, w.e.Recovered().Events, "it has no part that is in the journal only")
			require.Equal(t, string(want), w.goldenText())
			a, refusal := w.ingest(goldenBatch(1), goldenBatch(1).body)
			require.Nil(t, refusal)
			require.True(t, a.Duplicate, "the producer sends again what was stored")
			a, refusal = w.ingest(goldenBatch(2), goldenBatch(2).body)
			require.Nil(t, refusal)
			require.True(t, a.Duplicate, "and what was only journaled")
			w.clock.Advance(time.Minute)
			w.tick()
			w.flush()
			require.NoError(t, w.e.Store.Flush())
			require.Equal(t, string(want), w.goldenText())
			require.True(t, w.requireEqualReport().Equal)
			require.NoError(t, w.e.Close())
			w.open()
			w.replay()
			require.Equal(t, string(want), w.goldenText())
			require.NoError(t, w.e.Close())
		})
	}
}

func goldenWorld(t *testing.T) *world {
	w := newWorld(t, func(int) int { return 0 })
	w.o.segmentBytes = 4000 // so that most of the journal goes
	w.o.JournalRetention, w.o.JournalSize = 0, 0
	w.clock = clock.NewManual(time.Unix(goldenEnd, 0))
	return w
}

// goldenBatch is one of a producer; the second is not flushed.
func goldenBatch(n int) *batch {
	b := &batch{body: fmt.Sprintf("c0:%d|c|#k:a,z:1\nd0:2.5|d|@0.5\nbad line\ns0:9|s\n_e{6,4}:deploy|%04d|#k:a", 5*n, n)}
	b.q.Producer, b.q.Sequence = "00000000-0000-4000-8000-000000000001", strconv.Itoa(n)
	return b
}

// writeGolden lives through what there can be in a data dir, and writes it down as a
// kill leaves it.
func writeGolden(t *testing.T) {
	w := goldenWorld(t)
	w.clock = clock.NewManual(time.Unix(begin, 0))
	start := func(bulkRows int) {
		w.o.bulkRows = bulkRows
		w.open()
		w.replay()
	}
	second := func(i int) {
		line := fmt.Sprintf("c0:%d|c|#k:a\nc1:%g|c\ng0:%d|g|#k:b", 1+i%7, float64(i%9)+0.25, i%50-10)
		if i%3 == 0 {
			line += fmt.Sprintf("\nd0:%d|ms\nd0:%g|ms|@0.1|#k:a\ns0:%d|s", 1+i%11*10, 0.5*float64(i%13), i%40)
		}
		if i%20 == 0 {
			line += fmt.Sprintf("\nc0:-3|c|#k:b,z:1|T%d", int(w.now())-400)
		}
		w.feed(i%2, line)
		w.clock.Advance(time.Second)
		require.NoError(t, w.e.Pump.Tick(w.now()))
		if i%10 == 0 {
			require.NoError(t, w.e.Pump.Flush(w.now()-10))
		}
	}
	start(1) // tables
	for i := range 30 {
		second(i)
	}
	b := goldenBatch(1)
	a, refusal := w.ingest(b, b.body)
	require.Nil(t, refusal)
	require.EqualValues(t, 3, a.Accepted)
	require.NoError(t, w.e.Close())
	start(1000) // a log
	for i := range 700 {
		second(i)
		if i == 600 {
			require.NoError(t, w.e.Store.Flush()) // a table of what was merged in memory
		}
	}
	b = goldenBatch(2)
	_, refusal = w.ingest(b, b.body)
	require.Nil(t, refusal)
	for i := range 8 {
		w.feed(0, fmt.Sprintf("c0:100|c|#k:a\ng0:%d|g|#k:b", i))
		w.clock.Advance(time.Second)
		require.NoError(t, w.e.Pump.Tick(w.now()))
	}
	require.Less(t, int64(w.now()), int64(goldenEnd))
	left := w.mem.CrashClone(crashAll(1))
	w.clock.Advance(time.Unix(goldenEnd, 0).Sub(w.clock.Now()))
	text := w.goldenText()
	require.NoError(t, w.e.Close())
	dir := filepath.Join(goldenDir, fmt.Sprintf("v%d", tsdb.Format))
	require.NoError(t, os.RemoveAll(dir))
	copyOut(t, left, "data", filepath.Join(dir, "data"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "expected.txt"), []byte(text), 0o644))
}

// goldenText writes down all that queries tell: of each series, function and tier a line,
// with a value for each bucket, and a dot for one without an event.
func (w *world) goldenText() string {
	got := w.answers([]event{{sec: begin - 400}, {sec: goldenEnd}})
	type row struct{ name, fn, tags string }
	lists := make(map[row]map[metric.Tier][]cell)
	for c := range got {
		r := row{c.name, string(c.fn), c.tags}
		if lists[r] == nil {
			lists[r] = make(map[metric.Tier][]cell)
		}
		lists[r][c.tier] = append(lists[r][c.tier], c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "events %d\n", w.events())
	for _, n := range w.e.Notes.Between(0, metric.MaxSec, 100) {
		fmt.Fprintf(&b, "annotation %d %s %s %v\n", n.Time, n.Title, n.Text, n.Tags)
	}
	rows := make([]row, 0, len(lists))
	for r := range lists {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.fn, b.fn), cmp.Compare(a.tags, b.tags))
	})
	for _, r := range rows {
		for _, tier := range metric.Tiers {
			list := lists[r][tier]
			slices.SortFunc(list, func(a, b cell) int { return cmp.Compare(a.start, b.start) })
			fmt.Fprintf(&b, "%s %s {%s} %s from %d:", r.name, r.fn, r.tags, tier, list[0].start)
			for at, i := list[0].start, 0; i < len(list); at += metric.UnixSec(tier.Width()) {
				if list[i].start != at {
					b.WriteString(" .")
					continue
				}
				b.WriteString(" " + strconv.FormatFloat(got[list[i]], 'g', -1, 64))
				i++
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// copyIn copies a directory of the disk into mem.
func copyIn(t *testing.T, mem *crashdisk.Disk, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		rel, err := filepath.Rel(from, path)
		require.NoError(t, err)
		target := mem.PathJoin(to, filepath.ToSlash(rel))
		if d.IsDir() {
			return mem.MkdirAll(target, 0o700)
		}
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		f, err := mem.Create(target, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = f.Write(b)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
		dir, err := mem.OpenDir(mem.PathDir(target))
		require.NoError(t, err)
		require.NoError(t, dir.Sync())
		return dir.Close()
	}))
}

// copyOut copies a directory of mem to the disk, but for what only a process needs.
func copyOut(t *testing.T, mem *crashdisk.Disk, from, to string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(to, 0o755))
	names, err := mem.List(from)
	require.NoError(t, err)
	for _, name := range names {
		path := mem.PathJoin(from, name)
		info, err := mem.Stat(path)
		require.NoError(t, err)
		switch {
		case info.IsDir():
			copyOut(t, mem, path, filepath.Join(to, name))
		case name != "LOCK" && name != "cairn.pid":
			f, err := mem.Open(path)
			require.NoError(t, err)
			b, err := io.ReadAll(f)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			require.NoError(t, os.WriteFile(filepath.Join(to, name), b, 0o644))
		}
	}
}
