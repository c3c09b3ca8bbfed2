package tsdb

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/chunk"
	"cairn/internal/metric"
)

// TestDamagedOperandsAreIsolated plants operands that do not decode: the store goes on
// compacting, opens, answers with what is good, and says what it found.
func TestDamagedOperandsAreIsolated(t *testing.T) {
	fs := vfs.NewMem()
	var log bytes.Buffer
	reopen := func() *Store {
		s, err := Open("data", Options{FS: fs, Cache: 1 << 20, Log: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		return s
	}
	s, o := reopen(), oracle{}
	series := seriesOf("m")
	write := func(from metric.UnixSec) Ref {
		var sums []metric.Sum
		for i := range metric.UnixSec(40) {
			sums = append(sums, metric.Sum{Sec: from + i, Events: 1, Value: 2})
		}
		b := s.NewBatch()
		r, err := b.Ref(series)
		require.NoError(t, err)
		require.NoError(t, b.Add(r, sums))
		require.NoError(t, b.Commit())
		b.Publish()
		o.add(series, sums)
		return r
	}
	r := write(1000)
	compact := func() {
		require.NoError(t, s.db.Flush())
		require.NoError(t, s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
	}
	for _, bad := range [][]byte{{}, {0x77, 1}, {0x11, 0xff}, {0x21, 2, 9}, {0x12, 0, 1, 0}, {0x0f, 9, 9}} {
		require.NoError(t, s.db.Merge(appendChunkKey(nil, metric.Tier1s, 0, r.metric, r.series), bad, pebble.Sync))
		compact()
		write(1020)
	}
	require.NoError(t, s.db.Merge([]byte("x"), []byte("y"), pebble.Sync))
	compact()
	o.check(t, s)
	require.EqualValues(t, 2, s.Damaged())
	require.Contains(t, log.String(), "is damaged")
	require.Contains(t, log.String(), "offset")
	require.NoError(t, s.Close())

	s = reopen()
	require.Zero(t, s.Damaged())
	o.check(t, s)
	require.EqualValues(t, 1, s.Damaged(), "readers tell of it too")
	snap := s.Snapshot()
	require.NoError(t, snap.WalkChunks(context.Background(), metric.Tier1s, 0, 0, AllMetrics, func(c *Chunk) error {
		n, err := c.Damage()
		require.NoError(t, err)
		require.EqualValues(t, 6, n)
		slots, err := c.Len()
		require.NoError(t, err)
		require.EqualValues(t, 60, slots)
		return nil
	}))
	require.NoError(t, snap.Close())
	require.NoError(t, s.Close())
}

// TestDamagedValueIsSkipped: a value that no merger saw does not end a scan.
func TestDamagedValueIsSkipped(t *testing.T) {
	s := open(t, vfs.NewMem())
	b := s.NewBatch()
	var refs []Ref
	for _, name := range []string{"a", "b"} {
		r, err := b.Ref(seriesOf("m", metric.Tag{Key: "k", Value: name}))
		require.NoError(t, err)
		require.NoError(t, b.Add(r, []metric.Sum{{Sec: 100, Events: 1, Value: 3}}))
		refs = append(refs, r)
	}
	require.NoError(t, b.Commit())
	b.Publish()
	require.NoError(t, s.db.Set(appendChunkKey(nil, metric.Tier1s, 0, refs[0].metric, refs[0].series), []byte{chunk.Run(metric.Counter), 0xff}, pebble.Sync))
	snap := s.Snapshot()
	sum := 0.0
	require.NoError(t, snap.Scan(context.Background(), s.Select(seriesOf("m").ID, all), metric.Tier1s, 0, 3600, func(_ int, _ metric.UnixSec, _ []uint32, sums []float64) error {
		for _, v := range sums {
			sum += v
		}
		return nil
	}))
	require.Equal(t, 3.0, sum)
	require.EqualValues(t, 1, s.Damaged())
	require.NoError(t, snap.Close())
	require.NoError(t, s.Close())
}

func TestAccountsAdd(t *testing.T) {
	s := open(t, vfs.NewMem())
	key := []byte{prefixAccount, 4, 0, 0, 0, 1, 0, 0, 0, 2}
	for _, v := range [][]byte{appendAccount(nil, account{3, 1.5}), {0x80}, appendAccount(nil, account{300, -1}), {1, 2}, appendAccount(nil, account{1, math.Inf(1)})} {
		require.NoError(t, s.db.Merge(key, v, pebble.Sync))
		require.NoError(t, s.db.Flush())
	}
	v, closer, err := s.db.Get(key)
	require.NoError(t, err)
	require.Equal(t, []byte{0xaf, 0x02, 0, 0, 0, 0, 0, 0, 0xe0, 0x3f}, v)
	require.NoError(t, closer.Close())
	require.EqualValues(t, 1, s.Damaged())
	require.NoError(t, s.Close())
}
