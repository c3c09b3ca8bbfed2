package tsdb

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/crashdisk"
	"cairn/internal/metric"
)

// state is what a flush commits beside the chunks.
type state struct {
	cursor    Cursor
	totals    Totals
	sequences map[string]string // value by producer and number
}

func (st state) clone() state {
	st.sequences = maps.Clone(st.sequences)
	return st
}

func sequenceName(p [16]byte, n uint64) string { return fmt.Sprintf("%x/%d", p, n) }

// stateOf reads it from a store, and holds the snapshot's cursor against it.
func stateOf(t testing.TB, s *Store) state {
	t.Helper()
	st := state{s.Cursor(), s.Totals(), map[string]string{}}
	require.NoError(t, s.Sequences(func(p [16]byte, n uint64, v []byte) error {
		name := sequenceName(p, n)
		require.NotContains(t, st.sequences, name)
		st.sequences[name] = string(v)
		return nil
	}))
	snap := s.Snapshot()
	cursor, err := snap.Cursor()
	require.NoError(t, err)
	require.Equal(t, st.cursor, cursor)
	require.NoError(t, snap.Close())
	return st
}

// commitState commits a random batch, and returns what the state must be then.
func commitState(t testing.TB, s *Store, st state, rng *rand.Rand) state {
	st = st.clone()
	b := s.NewBatch()
	for range rng.IntN(3) {
		r, err := b.Ref(seriesOf(fmt.Sprintf("m%d", rng.IntN(3))))
		require.NoError(t, err)
		sums := []metric.Sum{{Sec: metric.UnixSec(7199 + rng.IntN(2)), Events: uint32(1 + rng.IntN(3)), Value: float64(rng.IntN(100)) / 4}}
		require.NoError(t, b.Add(r, sums))
		st.totals.Events += uint64(sums[0].Events)
		st.totals.Units += sums[0].Value
		b.AddAnnotations([]metric.Annotation{note(1)})
	}
	producer := func() (p [16]byte) { p[rng.IntN(2)*15] = byte(rng.IntN(3)); return p }
	number := func() uint64 { return uint64(1 + rng.IntN(30)) }
	for range rng.IntN(5) {
		p, below := producer(), number()
		if rng.IntN(3) == 0 {
			below = math.MaxUint64
		}
		b.ForgetSequences(p, below)
		for name := range st.sequences {
			var n uint64
			_, err := fmt.Sscanf(name[33:], "%d", &n)
			require.NoError(t, err)
			if strings.HasPrefix(name, fmt.Sprintf("%x/", p)) && n < below {
				delete(st.sequences, name)
			}
		}
	}
	var list []Sequence
	for range rng.IntN(20) {
		q := Sequence{producer(), number(), bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(300))}
		list = append(list, q)
		st.sequences[sequenceName(q.Producer, q.Number)] = string(q.Value)
	}
	b.AddSequences(list[:len(list)/2])
	b.AddSequences(list[len(list)/2:])
	c := &st.cursor
	*c = Cursor{c.Watermark + 1, c.Cut + rng.Uint64N(1<<40), c.Oldest + rng.Uint64N(1<<40), c.Journaled + rng.Uint64N(1000)}
	b.SetCursor(*c)
	if rng.IntN(2) == 0 {
		st.totals.Lost, st.totals.LostEpoch = st.totals.Lost+rng.Uint64N(10), st.totals.LostEpoch+1
		st.totals.Duplicates, st.totals.Amended = st.totals.Duplicates+rng.Uint64N(10), st.totals.Amended+rng.Uint64N(10)
		said := st.totals
		said.Events, said.Units = 12345, -1 // not the caller's affair
		b.SetTotals(said)
	}
	require.NoError(t, b.Commit())
	b.Publish()
	return st
}

// TestStateAgainstMap commits through Pebble's log and as tables, also ones that end
// after a few keys, and reopens.
func TestStateAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewMem()
	s, st := open(t, fs), state{sequences: map[string]string{}}
	for i := range 120 {
		s.bulkRows = rng.IntN(2) * 1000
		s.tableSize = []int{maxTable, 200, 1}[rng.IntN(3)]
		st = commitState(t, s, st, rng)
		require.Equal(t, st, stateOf(t, s), "batch %d", i)
		switch i % 20 {
		case 3:
			require.NoError(t, s.db.Flush())
		case 11:
			require.NoError(t, s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
		case 17:
			require.NoError(t, s.Close())
			s = open(t, fs)
			require.Equal(t, st, stateOf(t, s))
		}
	}
	require.NoError(t, s.Close())
}

// images takes an image of the disk before each write to it.
type images struct {
	fs   *crashdisk.Disk
	mu   sync.Mutex // guards those below
	rng  *rand.Rand
	list []*crashdisk.Disk
	on   bool
}

func (m *images) String() string { return "images" }

func (m *images) MaybeError(op errorfs.Op) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.on && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		m.list = append(m.list, m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.rng.IntN(101), RNG: m.rng}))
	}
	return nil
}

// TestCrashWithin opens images of the disk that were taken while batches were
// committed: each has all of the batch or nothing.
func TestCrashWithin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	disk := crashdisk.New()
	m := &images{fs: disk, rng: rand.New(rand.NewPCG(seed, 1))}
	s, st := open(t, errorfs.Wrap(disk, m)), state{sequences: map[string]string{}}
	seen := [2]int{}
	for i := range 12 {
		s.bulkRows = i % 2 * 1000
		before := st.clone()
		m.mu.Lock()
		m.on, m.list = true, nil
		m.mu.Unlock()
		st = commitState(t, s, st, rng)
		m.mu.Lock()
		m.on = false
		list := append(m.list, disk.CrashClone(vfs.CrashCloneCfg{}))
		m.mu.Unlock()
		for j, image := range list {
			crashed := open(t, image)
			got := stateOf(t, crashed)
			if j < len(list)-1 && got.cursor == before.cursor {
				require.Equal(t, before, got, "batch %d, image %d", i, j)
				seen[0]++
			} else {
				require.Equal(t, st, got, "batch %d, image %d", i, j)
				seen[1]++
			}
			require.NoError(t, crashed.Close())
		}
	}
	t.Logf("%d images before a commit, %d after", seen[0], seen[1])
	require.Greater(t, seen[0], 20)
	require.NoError(t, s.Close())
}

// TestFirstFormatIsRead opens a store whose cursor and totals are one number each. It
// gets the new format with that, and longer values with its first batch.
func TestFirstFormatIsRead(t *testing.T) {
	for name, bulk := range map[string]int{"log": 1000, "tables": 0} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			s := open(t, fs)
			for key, v := range map[string]uint64{string(keyFormat): 1, string(keyCursor): 1_700_000_000, string(keyTotals): 300} {
				require.NoError(t, s.db.Set([]byte(key), binary.AppendUvarint(nil, v), pebble.Sync))
			}
			require.NoError(t, s.Close())
			want := state{Cursor{Watermark: 1_700_000_000}, Totals{Events: 300, Before: 300}, map[string]string{}}
			for range 2 {
				s = open(t, fs)
				require.Equal(t, want, stateOf(t, s))
				require.Equal(t, []byte{storeFormat}, valueOf(t, s, keyFormat))
				require.NoError(t, s.Close())
			}
			s = open(t, fs)
			s.bulkRows = bulk
			b := s.NewBatch()
			b.SetCursor(Cursor{1_700_000_010, 5, 4, 3})
			require.NoError(t, b.Commit())
			b.Publish()
			require.Equal(t, []byte{storeFormat}, valueOf(t, s, keyFormat))
			want.cursor = Cursor{1_700_000_010, 5, 4, 3}
			require.Equal(t, want, stateOf(t, s))
			require.NoError(t, s.Close())
			s = open(t, fs)
			require.Equal(t, want, stateOf(t, s))
			require.NoError(t, s.Close())
		})
	}
}

func valueOf(t *testing.T, s *Store, key []byte) []byte {
	t.Helper()
	v, closer, err := s.db.Get(key)
	require.NoError(t, err)
	defer func() { require.NoError(t, closer.Close()) }()
	return slices.Clone(v)
}

// TestGoldenState holds the bytes that docs/format.md draws.
func TestGoldenState(t *testing.T) {
	c := Cursor{Watermark: 1_700_000_000, Cut: 3<<32 | 4096, Oldest: 3 << 32, Journaled: 300}
	b := []byte("\x80\xe2\xcf\xaa\x06\x80\xa0\x80\x80\x30\x80\x80\x80\x80\x30\xac\x02")
	require.Equal(t, b, appendCursor(nil, c))
	got, err := decodeCursor(b)
	require.NoError(t, err)
	require.Equal(t, c, got)

	totals := Totals{Events: 300, Units: 1.5, Lost: 2, LostEpoch: 7, Duplicates: 1, Amended: 4}
	b = []byte("\xac\x02\x00\x00\x00\x00\x00\x00\xf8\x3f\x02\x07\x01\x04") // format 2
	old, err := decodeTotals(b)
	require.NoError(t, err)
	totals.Before, totals.BeforeUnits = 300, 1.5
	require.Equal(t, totals, old)
	totals.Expired, totals.ExpiredUnits, totals.Deleted, totals.DeletedUnits, totals.DeletedSeries, totals.Before, totals.BeforeUnits = 200, 0.5, 9, -2, 3, 5, 1
	b = append(b, "\xc8\x01\x00\x00\x00\x00\x00\x00\xe0\x3f\x09\x00\x00\x00\x00\x00\x00\x00\xc0\x03\x05\x00\x00\x00\x00\x00\x00\xf0\x3f"...)
	require.Equal(t, b, appendTotals(nil, totals))
	gotTotals, err := decodeTotals(b)
	require.NoError(t, err)
	require.Equal(t, totals, gotTotals)

	require.Equal(t, []byte("\x15\x04\x00\x00\x02\x8f\x00\x00\x00\x07"), appendAccountKey(nil, metric.Tier1h, 655, 7))
	require.Equal(t, []byte("\xac\x02\x00\x00\x00\x00\x00\x00\xf8\x3f"), appendAccount(nil, account{300, 1.5}))
	policy := metric.Policy{Default: metric.DefaultRetention, Overrides: []metric.Override{{Prefix: "a\n\".", Retention: metric.Retention{3600}}}}
	b = append([]byte("\x80\xe2\xcf\xaa\x06"), "1s:1d,10s:7d,1m:30d,1h:400d\n\"a\\n\\\".\" 1s:1h"...)
	require.Equal(t, string(b), string(appendRetention(nil, storedPolicy{1_700_000_000, policy})))
	gotPolicy, err := decodeRetention(b)
	require.NoError(t, err)
	require.Equal(t, storedPolicy{1_700_000_000, policy}, gotPolicy)

	key := appendSequenceKey(nil, [16]byte{0x6b, 0xa7, 15: 0xc8}, 258)
	require.Equal(t, []byte("\x14\x6b\xa7\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xc8\x00\x00\x00\x00\x00\x00\x01\x02"), key)
}

// TestDamagedStateIsRefused reads every part of a cursor and of totals, and more: only
// the first number alone, and everything, make sense.
func TestDamagedStateIsRefused(t *testing.T) {
	cursor := appendCursor(nil, Cursor{1_700_000_000, 3 << 32, 2 << 32, 300})
	totals := appendTotals(nil, Totals{300, 1.5, 200, 300, 400, 500, 600, 2.5, 700, 3.5, 800, 900, 4.5})
	for n := range cursor {
		_, err := decodeCursor(cursor[:n])
		require.Equal(t, n == 5, err == nil, "%d bytes", n)
	}
	for n := range totals {
		_, err := decodeTotals(totals[:n])
		require.Equal(t, n == 2 || n == 18, err == nil, "%d bytes", n)
	}
	_, err := decodeCursor(append(cursor, 0))
	require.ErrorContains(t, err, "it stops making sense at offset 17")
	_, err = decodeTotals(append(totals, 0))
	require.Error(t, err)
	_, err = decodeCursor(binary.AppendUvarint(nil, 1<<63))
	require.Error(t, err)
	s := open(t, vfs.NewMem())
	require.NoError(t, s.db.Set([]byte{prefixSequence, 1}, nil, pebble.Sync))
	require.ErrorContains(t, s.Sequences(nil), "key 1401 is no sequence's")
	require.NoError(t, s.Close())
}
