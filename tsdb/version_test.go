package tsdb

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/crashdisk"
	"cairn/internal/metric"
)

// upgrading takes an image of the disk before each write to it, with what the store was
// allowed to write then.
type upgrading struct {
	s  *Store
	fs *crashdisk.Disk

	mu      sync.Mutex // guards those below
	rng     *rand.Rand
	images  []*crashdisk.Disk
	columns []bool
}

func (u *upgrading) String() string { return "upgrading" }

func (u *upgrading) MaybeError(op errorfs.Op) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		u.columns = append(u.columns, u.s != nil && u.s.columns.format.Load())
		u.images = append(u.images, u.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: u.rng.IntN(2) * 100, RNG: u.rng}))
	}
	return nil
}

// formatOfStore reads the format of an image, without a write to it.
func formatOfStore(t *testing.T, fs vfs.FS) uint64 {
	t.Helper()
	a, err := OpenArchive("data", Options{FS: fs})
	require.NoError(t, err)
	version, err := readFormat(a.db)
	require.NoError(t, err)
	require.NoError(t, a.Close())
	return version
}

// TestNothingNewBeforeTheFormatIs opens stores of older formats and loses power at each
// write of that: compactions may make column chunks only once no crash brings the older
// format back.
func TestNothingNewBeforeTheFormatIs(t *testing.T) {
	for version := uint64(1); version < storeFormat; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			disk := crashdisk.New()
			s, o := open(t, disk), oracle{}
			rng := rand.New(rand.NewPCG(version, 0))
			for range 6 {
				require.NoError(t, commitRandom(t, s, o, rng))
			}
			require.NoError(t, s.db.Set(keyFormat, binary.AppendUvarint(nil, version), pebble.Sync))
			require.NoError(t, s.Close())

			u := &upgrading{fs: disk, rng: rng}
			options := Options{FS: errorfs.Wrap(disk, u), Cache: 1 << 20}
			u.s = newStore("data", &options)
			require.NoError(t, u.s.start(options))
			require.NoError(t, u.s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, true))
			require.NoError(t, u.s.Close())
			u.mu.Lock()
			defer u.mu.Unlock()
			seen := map[bool]int{}
			for i, fs := range u.images {
				got := formatOfStore(t, fs)
				require.True(t, got == version || got == storeFormat, "it has format %d", got)
				if u.columns[i] {
					require.EqualValues(t, storeFormat, got, "image %d: column chunks may be written, and a crash brings the older format back", i)
				}
				seen[u.columns[i]]++
			}
			require.Greater(t, seen[false], 5)
			require.Greater(t, seen[true], 5)
			require.EqualValues(t, storeFormat, formatOfStore(t, disk))
		})
	}
}

// TestNewerFormatIsNamed: what a later version wrote may keep Pebble from opening the
// store, without an error and for ever.
func TestNewerFormatIsNamed(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	require.NoError(t, s.db.Set(keyFormat, binary.AppendUvarint(nil, storeFormat+1), pebble.Sync))
	for range 2 { // a kind of chunk that does not exist yet
		require.NoError(t, s.db.Merge(appendChunkKey(nil, metric.Tier1s, 1, 1, 1), []byte{0x7f, 1}, pebble.Sync))
	}
	require.NoError(t, s.Close())
	want := fmt.Sprintf("has format %d and this version of cairn reads up to %d", storeFormat+1, storeFormat)
	_, err := Open("data", Options{FS: fs})
	require.ErrorContains(t, err, want)
	_, err = OpenArchive("data", Options{FS: fs})
	require.ErrorContains(t, err, want)
}
