package tsdb

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/crashdisk"
	"cairn/internal/matcher"
	"cairn/internal/metric"
)

func open(t testing.TB, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open("data", Options{FS: fs, Cache: 1 << 20})
	require.NoError(t, err)
	return s
}

func seriesOf(name string, tags ...metric.Tag) metric.Series {
	return metric.Series{ID: metric.ID{Name: name, Kind: metric.Counter}, Tags: metric.NewTagset(tags)}
}

var all matcher.List

// oracle is what a store must hold, by series and second.
type oracle map[metric.Series]map[metric.UnixSec]float64

func (o oracle) add(s metric.Series, sums []metric.Sum) {
	if o[s] == nil {
		o[s] = map[metric.UnixSec]float64{}
	}
	for _, sum := range sums {
		o[s][sum.Sec] += sum.Value
	}
}

func (o oracle) clone() oracle {
	out := oracle{}
	for s, m := range o {
		out[s] = map[metric.UnixSec]float64{}
		for k, v := range m {
			out[s][k] = v
		}
	}
	return out
}

// check compares every tier of the store with the oracle.
func (o oracle) check(t *testing.T, s *Store) {
	t.Helper()
	names := map[metric.ID]bool{}
	for series := range o {
		names[series.ID] = true
	}
	require.Len(t, s.Metrics(), len(names))
	snap := s.Snapshot()
	defer func() { require.NoError(t, snap.Close()) }()
	for _, tier := range metric.Tiers {
		got := map[metric.Series]map[metric.UnixSec]float64{}
		for id := range names {
			sel := s.Select(id, all)
			require.NoError(t, snap.Scan(context.Background(), sel, tier, 0, 2_000_000_000, func(i int, start metric.UnixSec, slots []uint32, sums []float64) error {
				key := metric.Series{ID: id, Tags: sel[i].Tags}
				if got[key] == nil {
					got[key] = map[metric.UnixSec]float64{}
				}
				for j, slot := range slots {
					got[key][start+metric.UnixSec(int64(slot)*tier.Width())] += sums[j]
				}
				return nil
			}))
		}
		want := map[metric.Series]map[metric.UnixSec]float64{}
		for series, m := range o {
			want[series] = map[metric.UnixSec]float64{}
			for sec, v := range m {
				want[series][sec.Floor(tier.Width())] += v
			}
		}
		require.Equal(t, want, got, "tier %s", tier)
	}
}

// randomSums are up to n seconds near a partition boundary of every tier.
func randomSums(rng *rand.Rand, n int) []metric.Sum {
	base := metric.UnixSec(1_700_006_400 - 60) // midnight UTC - 60 s
	var out []metric.Sum
	for sec := base; len(out) < n; sec++ {
		if rng.IntN(3) == 0 {
			out = append(out, metric.Sum{Sec: sec, Events: 1, Value: float64(rng.IntN(2000) - 10)})
		}
	}
	return out
}

// sparseSums are in more partitions than most batches have.
func sparseSums(rng *rand.Rand) []metric.Sum {
	out := make([]metric.Sum, narrow+5)
	for i := range out {
		out[i] = metric.Sum{Sec: metric.UnixSec(1_699_000_000 + i*7200 + rng.IntN(7200)), Events: 1, Value: 1}
	}
	return out
}

// commitRandom commits one batch to the store and to the oracle.
func commitRandom(t testing.TB, s *Store, o oracle, rng *rand.Rand) error {
	s.bulkRows = 1 + 1000*rng.IntN(2) // as tables, or through the log
	b := s.NewBatch()
	refs := map[metric.Series]Ref{}
	for range 1 + rng.IntN(5) {
		series := seriesOf(fmt.Sprintf("m%d", rng.IntN(4)), metric.Tag{Key: "host", Value: strconv.Itoa(rng.IntN(6))})
		r, ok := refs[series]
		if !ok {
			var err error
			r, err = b.Ref(series)
			require.NoError(t, err)
			refs[series] = r
		}
		sums := randomSums(rng, 1+rng.IntN(100)) // a series may come twice
		if rng.IntN(4) == 0 {
			sums = sparseSums(rng)
		}
		require.NoError(t, b.Add(r, sums))
		o.add(series, sums)
	}
	c := s.Cursor()
	b.SetCursor(Cursor{c.Watermark + 1, c.Cut + 1000, c.Oldest + 900, c.Journaled + 7})
	if err := b.Commit(); err != nil {
		return err
	}
	b.Publish()
	return nil
}

func TestStoreAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewMem()
	s, o := open(t, fs), oracle{}
	for i := range 60 {
		require.NoError(t, commitRandom(t, s, o, rng))
		switch i % 20 {
		case 7:
			require.NoError(t, s.db.Flush())
		case 13:
			require.NoError(t, s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
		case 19:
			o.check(t, s)
			cursor, totals := s.Cursor(), s.Totals()
			require.NoError(t, s.Close())
			s = open(t, fs)
			require.Equal(t, cursor, s.Cursor())
			require.Equal(t, totals, s.Totals())
			require.EqualValues(t, i+1, s.Cursor().Watermark)
		}
	}
	o.check(t, s)
	require.NoError(t, s.Close())
}

// TestCrash takes images of the disk after every commit, with random unsynced
// data lost, and opens them: each holds exactly what was committed.
func TestCrash(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := crashdisk.New()
	s, o := open(t, fs), oracle{}
	for range 12 {
		require.NoError(t, commitRandom(t, s, o, rng))
		image := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		crashed := open(t, image)
		require.Equal(t, s.Cursor(), crashed.Cursor())
		require.Equal(t, s.Totals(), crashed.Totals())
		o.clone().check(t, crashed)
		require.NoError(t, commitRandom(t, crashed, o.clone(), rng), "it goes on")
		require.NoError(t, crashed.Close())
	}
	require.NoError(t, s.Close())
}

func TestDiscardLeavesNothing(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	b := s.NewBatch()
	r, err := b.Ref(seriesOf("m"))
	require.NoError(t, err)
	require.NoError(t, b.Add(r, randomSums(rand.New(rand.NewPCG(1, 1)), 5)))
	b.Discard()
	_, ok := s.Lookup(seriesOf("m"))
	require.False(t, ok)
	oracle{}.check(t, s)
	require.NoError(t, s.Close())
}

func TestScanTrimsToTheRange(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer func() { require.NoError(t, s.Close()) }()
	b := s.NewBatch()
	var sums []metric.Sum
	for sec := metric.UnixSec(7190); sec < 7210; sec++ {
		sums = append(sums, metric.Sum{Sec: sec, Events: 1, Value: 1})
	}
	for i := range 5 {
		r, err := b.Ref(seriesOf("m", metric.Tag{Key: "i", Value: strconv.Itoa(i)}))
		require.NoError(t, err)
		require.NoError(t, b.Add(r, sums))
	}
	require.NoError(t, b.Commit())
	b.Publish()
	snap := s.Snapshot()
	defer func() { require.NoError(t, snap.Close()) }()
	for _, c := range []struct {
		from, to metric.UnixSec
		want     int
	}{{7190, 7210, 20}, {7195, 7205, 10}, {7199, 7200, 1}, {7200, 7201, 1}, {0, 7190, 0}, {7210, 9000, 0}, {7200, 7200, 0}} {
		// Every other series, so that the scan has to skip.
		sel := s.Select(seriesOf("m").ID, matcher.List{matcher.Any("i", false, matcher.Pattern{"1"}, matcher.Pattern{"3"})})
		require.Len(t, sel, 2)
		got := map[int]int{}
		require.NoError(t, snap.Scan(context.Background(), sel, metric.Tier1s, c.from, c.to, func(i int, start metric.UnixSec, slots []uint32, _ []float64) error {
			for _, slot := range slots {
				sec := start + metric.UnixSec(slot)
				require.True(t, sec >= c.from && sec < c.to)
				got[i]++
			}
			return nil
		}))
		require.Equal(t, c.want, got[0], "[%d, %d)", c.from, c.to)
		require.Equal(t, c.want, got[1])
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, snap.Scan(ctx, s.Select(seriesOf("m").ID, all), metric.Tier1s, 0, 7200, nil), context.Canceled)
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	require.NoError(t, err)
	_, err = Open(dir, Options{})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, fmt.Sprintf("PID %d", os.Getpid()))
	require.NoError(t, s.Close())
	s, err = Open(dir, Options{})
	require.NoError(t, err, "the refused one has not harmed it")
	require.NoError(t, s.Close())
}

func TestUnusableDataDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := Open(dir, Options{})
		require.ErrorContains(t, err, fmt.Sprintf("data dir %q", dir))
		require.ErrorContains(t, err, "not a directory")
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	require.NoError(t, s.db.Set(keyFormat, binary.AppendUvarint(nil, storeFormat+1), pebble.Sync))
	require.NoError(t, s.Close())
	_, err := Open("data", Options{FS: fs})
	require.ErrorContains(t, err, fmt.Sprintf("has format %d and this version of cairn reads up to %d", storeFormat+1, storeFormat))
}

// TestGoldenKeys holds the bytes that docs/format.md draws.
func TestGoldenKeys(t *testing.T) {
	require.Equal(t, []byte{2, 0, 0, 0x13, 0x88, 0, 0, 0, 7, 0, 0, 1, 2}, appendChunkKey(nil, metric.Tier10s, 5000, 7, 258))
	require.Equal(t, []byte{0x10, 0, 0, 0, 7}, metricKey(prefixMetric, 7))
	require.Equal(t, []byte{0x12, 0, 0, 0, 7, 0, 0, 1, 2}, seriesKey(7, 258))
}

// BenchmarkCommit is the work of one flush: series that were active in each of
// ten seconds, in all tiers.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		for name, bulk := range map[string]int{"log": math.MaxInt, "tables": 0} {
			b.Run(fmt.Sprintf("series=%d/%s", n, name), func(b *testing.B) { benchmarkCommit(b, n, bulk) })
		}
	}
}

func benchmarkCommit(b *testing.B, n, bulk int) {
	s, err := Open(b.TempDir(), Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, s.Close()) }()
	s.bulkRows = bulk
	refs := make([]Ref, n)
	sums := make([]metric.Sum, 10)
	now := metric.UnixSec(1_700_000_000)
	for b.Loop() {
		batch := s.NewBatch()
		for i := range sums {
			sums[i] = metric.Sum{Sec: now + metric.UnixSec(i), Events: 1, Value: float64(i + 1)}
		}
		now += 10
		for i := range n {
			if refs[i] == (Ref{}) {
				r, err := batch.Ref(seriesOf(fmt.Sprintf("m%d", i%100), metric.Tag{Key: "i", Value: strconv.Itoa(i)}))
				require.NoError(b, err)
				refs[i] = r
			}
			require.NoError(b, batch.Add(refs[i], sums))
		}
		require.NoError(b, batch.Commit())
		batch.Publish()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/series")
}
