package tsdb

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/bucket"
	"cairn/internal/chunk"
	"cairn/internal/metric"
)

func inspect(t testing.TB, fs vfs.FS) *Content {
	t.Helper()
	a, err := OpenArchive("data", Options{FS: fs, Cache: 1 << 20})
	require.NoError(t, err)
	c, err := a.Inspect(context.Background())
	require.NoError(t, err)
	require.NoError(t, a.Close())
	return c
}

// requireShared compares the usage with the files there are.
func requireShared(t *testing.T, fs vfs.FS, u Usage) {
	t.Helper()
	names, err := fs.List("data/store")
	require.NoError(t, err)
	var all, tables, logs uint64
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin("data/store", name))
		require.NoError(t, err)
		all += uint64(info.Size())
		switch {
		case strings.HasSuffix(name, ".sst"):
			tables += uint64(info.Size())
		case strings.HasSuffix(name, ".log"):
			logs += uint64(info.Size())
		}
	}
	require.Equal(t, all, u.Total)
	require.Equal(t, all, u.known()+u.Files)
	require.Equal(t, tables+logs, u.known())
	require.LessOrEqual(t, u.Log, logs)
}

// TestInspectAgainstMap counts what a store holds and compares that with what was written.
func TestInspectAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewMem()
	s := open(t, fs)
	o := oracle{}
	for i := range 30 {
		require.NoError(t, commitRandom(t, s, o, rng))
		b := s.NewBatch()
		gauge := metric.Series{ID: metric.ID{Name: "level", Kind: metric.Gauge}, Tags: metric.NewTagset([]metric.Tag{{Key: "host", Value: fmt.Sprint(rng.IntN(3))}})}
		r, err := b.Ref(gauge)
		require.NoError(t, err)
		sec := metric.UnixSec(1_700_000_000 + rng.IntN(100_000))
		require.NoError(t, b.AddBuckets(r, []bucket.Dated{{Sec: sec, Events: 1, Bucket: randomBucket(rng, metric.Gauge, sec)}}))
		require.NoError(t, b.Commit())
		b.Publish()
		o.add(gauge, []metric.Sum{{Sec: sec, Value: 1}})
		if i%7 == 3 {
			require.NoError(t, s.db.Flush())
		}
		if i == 20 {
			require.NoError(t, s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
		}
	}
	live, err := s.Usage()
	require.NoError(t, err)
	require.Equal(t, live.Total, live.known()+live.Files)
	require.NoError(t, s.Close())
	got := inspect(t, fs)
	requireShared(t, fs, got.Usage)
	requireHolds(t, o, got)
	require.Equal(t, uint64(storeFormat), got.Format)

	require.NoError(t, CompactDir(context.Background(), "data", Options{FS: fs}))
	compacted := inspect(t, fs)
	requireShared(t, fs, compacted.Usage)
	requireHolds(t, o, compacted)
	for _, n := range compacted.Usage.Tiers {
		require.NotZero(t, n)
	}
	require.NotZero(t, compacted.Usage.Index)
}

func requireHolds(t *testing.T, o oracle, got *Content) {
	t.Helper()
	require.Empty(t, got.Damaged)
	require.Equal(t, uint64(len(o)), got.Series)
	byID := map[metric.ID]*MetricHeld{}
	for i := range got.Metrics {
		byID[got.Metrics[i].ID] = &got.Metrics[i]
	}
	for _, tier := range metric.Tiers {
		all, parts := want{}, map[uint32]bool{}
		each, eachParts := map[metric.ID]want{}, map[metric.ID]map[uint32]bool{}
		for s, secs := range o {
			w := each[s.ID]
			if eachParts[s.ID] == nil {
				eachParts[s.ID] = map[uint32]bool{}
			}
			samples, chunks := map[metric.UnixSec]bool{}, map[uint32]bool{}
			for sec := range secs {
				sec = sec.Floor(tier.Width())
				samples[sec] = true
				p, _ := tier.Place(sec)
				chunks[p], parts[p], eachParts[s.ID][p] = true, true, true
				w.see(sec)
				all.see(sec)
			}
			for _, x := range []*want{&w, &all} {
				x.series++
				x.chunks += uint64(len(chunks))
				x.samples += uint64(len(samples))
			}
			each[s.ID] = w
		}
		all.partitions = uint64(len(parts))
		require.Equal(t, all, wantOf(&got.Tiers[tier-1]), tier)
		var raw uint64
		for id, w := range each {
			w.partitions = uint64(len(eachParts[id]))
			require.Equal(t, w, wantOf(&byID[id].Tiers[tier-1]), "%s %v", tier, id)
			raw += byID[id].Tiers[tier-1].Raw
		}
		require.Equal(t, got.Tiers[tier-1].Raw, raw)
		require.Len(t, byID, len(each))
	}
}

// want is a Held but for its bytes.
type want struct {
	series, chunks, samples, partitions uint64
	oldest, newest                      metric.UnixSec
}

func (w *want) see(sec metric.UnixSec) {
	if w.oldest == 0 || sec < w.oldest {
		w.oldest = sec
	}
	w.newest = max(w.newest, sec)
}

func wantOf(h *Held) want {
	return want{h.Series, h.Chunks, h.Samples, h.Partitions, h.Oldest, h.Newest}
}

// TestInspectGoesOnAfterDamage breaks a value, and then a block of a table.
func TestInspectGoesOnAfterDamage(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	o := oracle{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		require.NoError(t, commitRandom(t, s, o, rng))
	}
	b := s.NewBatch()
	for i := range 5000 { // some blocks
		series := seriesOf("many", metric.Tag{Key: "host", Value: strconv.Itoa(i)})
		r, err := b.Ref(series)
		require.NoError(t, err)
		sums := []metric.Sum{{Sec: 1_700_000_000, Events: 1, Value: rng.Float64()}}
		require.NoError(t, b.Add(r, sums))
		o.add(series, sums)
	}
	require.NoError(t, b.Commit())
	b.Publish()
	sn := s.Snapshot()
	partition, ok, err := sn.NextPartition(metric.Tier1m, 0)
	require.NoError(t, sn.Close())
	require.True(t, ok)
	require.NoError(t, err)
	bad := appendChunkKey(nil, metric.Tier1m, partition, 1, 1<<20)
	require.NoError(t, s.db.Set(bad, []byte{0x77, 1}, pebble.Sync))
	stray := appendChunkKey(nil, metric.Tier1s, partition, 1<<20, 1)
	require.NoError(t, s.db.Set(stray, []byte{chunk.Run(metric.Counter), 0, 2}, pebble.Sync))
	require.NoError(t, s.Close())
	got := inspect(t, fs)
	require.Len(t, got.Damaged, 2)
	require.Contains(t, got.Damaged[0], fmt.Sprintf("chunk %x is of metric 1048576", stray))
	require.Contains(t, got.Damaged[1], fmt.Sprintf("chunk %x", bad))
	require.Equal(t, uint64(len(o)), got.Tiers[metric.Tier1h-1].Series)

	require.NoError(t, CompactDir(context.Background(), "data", Options{FS: fs}))
	names, err := fs.List("data/store")
	require.NoError(t, err)
	broken := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			breakByte(t, fs, fs.PathJoin("data/store", name))
			broken++
		}
	}
	require.NotZero(t, broken)
	got = inspect(t, fs)
	require.NotEmpty(t, got.Damaged)
	require.Contains(t, strings.Join(got.Damaged, "\n"), "cannot be read to its end")
	requireShared(t, fs, got.Usage)
}

// breakByte changes one in the middle of a file, where there is a block of chunks.
func breakByte(t *testing.T, fs vfs.FS, path string) {
	t.Helper()
	f, err := fs.Open(path)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	b[len(b)/2] ^= 0x40
	f, err = fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(b)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestInspectEndsWhenAsked(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	require.NoError(t, commitRandom(t, s, oracle{}, rand.New(rand.NewPCG(1, 2))))
	sn := s.Snapshot()
	ctx, stop := context.WithCancel(context.Background())
	calls := 0
	_, err := sn.Inspect(ctx, func(ctx context.Context) error {
		if calls++; calls == 3 {
			stop()
		}
		return ctx.Err()
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 3, calls)
	require.NoError(t, sn.Close())
	require.NoError(t, s.Close())
}

func TestShareAddsUp(t *testing.T) {
	require.Zero(t, Share(5, 0, 0))
	require.Equal(t, uint64(1<<63), Share(1<<63, 7, 7))
	require.Equal(t, uint64(3), Share(10, 1, 3))
	require.Equal(t, uint64(10), Share(10, 9, 3), "more than all is all")
}

// TestTheVeryLastPartitionIsTheEnd: a damaged key of it does not begin the tier anew for ever.
func TestTheVeryLastPartitionIsTheEnd(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	for _, partition := range []uint32{7, math.MaxUint32} {
		require.NoError(t, s.db.Set(appendChunkKey(nil, metric.Tier1s, partition, 1, 1), []byte{chunk.Run(metric.Counter), 0, 2}, pebble.Sync))
	}
	sn := s.Snapshot()
	p, ok, err := sn.PartitionAfter(metric.Tier1s, 7)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, math.MaxUint32, p)
	_, ok, err = sn.PartitionAfter(metric.Tier1s, p)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, sn.Close())
	require.NoError(t, s.Close())
	require.Len(t, inspect(t, fs).Damaged, 2, "of a metric that is not known")
}
