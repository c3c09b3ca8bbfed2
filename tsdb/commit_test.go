package tsdb

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// tablesIn lists the tables in the data dir that the store did not take over.
func tablesIn(t *testing.T, fs vfs.FS) (out []string) {
	t.Helper()
	names, err := fs.List("data")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasPrefix(name, tableName) {
			out = append(out, name)
		}
	}
	return out
}

func TestTablesOfACrashAreRemoved(t *testing.T) {
	fs := vfs.NewMem()
	s, o := open(t, fs), oracle{}
	require.NoError(t, commitRandom(t, s, o, rand.New(rand.NewPCG(1, 1))))
	require.NoError(t, s.Close())
	for _, name := range []string{tableName + "000000.sst", tableName + "000017.sst", "notes.txt"} {
		f, err := fs.Create("data/"+name, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = f.Write([]byte("half a table"))
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	require.Len(t, tablesIn(t, fs), 2)
	s = open(t, fs)
	require.Empty(t, tablesIn(t, fs))
	o.check(t, s)
	require.NoError(t, s.Close())
	_, err := fs.Stat("data/notes.txt")
	require.NoError(t, err, "it is nobody's table")
}

var errDisk = errors.New("the disk says no")

// failing fails the operation with the number left on tables of a flush, as long as
// that is not negative.
type failing struct{ left atomic.Int64 }

func (f *failing) String() string { return "tables of a flush" }

func (f *failing) MaybeError(op errorfs.Op) error {
	if op.Kind == errorfs.OpRemove || !strings.Contains(op.Path, tableName) {
		return nil
	}
	if f.left.Add(-1) == -1 {
		return errDisk
	}
	return nil
}

// TestFailedTablesLeaveNothing fails every operation on the tables of a flush, one
// after the other: the store stays what it was, no file is left, and the same
// sums are then committed.
func TestFailedTablesLeaveNothing(t *testing.T) {
	disk := vfs.NewMem()
	inject := &failing{}
	inject.left.Store(1 << 40)
	fs := errorfs.Wrap(disk, inject)
	s, o := open(t, fs), oracle{}
	s.bulkRows = 1
	rng := rand.New(rand.NewPCG(3, 3))
	known := seriesOf("known", metric.Tag{Key: "k", Value: "v"})
	failed := 0
	for at := int64(0); ; at++ {
		require.Less(t, at, int64(10_000))
		sums := map[metric.Series][]metric.Sum{known: randomSums(rng, 50), seriesOf("new", metric.Tag{Key: "at", Value: strconv.Itoa(int(at))}): randomSums(rng, 20)}
		commit := func() error {
			b := s.NewBatch()
			for series, list := range sums {
				r, err := b.Ref(series)
				require.NoError(t, err)
				require.NoError(t, b.Add(r, list))
			}
			b.AddAnnotations([]metric.Annotation{note(int(at))})
			b.SetCursor(Cursor{Watermark: metric.UnixSec(at + 1)})
			if err := b.Commit(); err != nil {
				b.Discard()
				return err
			}
			b.Publish()
			return nil
		}
		cursor, totals := s.Cursor(), s.Totals()
		inject.left.Store(at)
		err := commit()
		inject.left.Store(1 << 40)
		if err != nil {
			failed++
			require.ErrorIs(t, err, errDisk)
			require.Empty(t, tablesIn(t, disk), "operation %d", at)
			require.Equal(t, []any{cursor, totals}, []any{s.Cursor(), s.Totals()})
			if at%128 == 0 {
				o.check(t, s)
			}
			require.NoError(t, commit(), "once more, after operation %d failed", at)
		}
		for series, list := range sums {
			o.add(series, list)
		}
		require.Empty(t, tablesIn(t, disk))
		notes, e := s.Annotations()
		require.NoError(t, e)
		require.Len(t, notes, int(at)+1)
		if err == nil {
			break // there was no such operation
		}
	}
	t.Logf("%d operations failed", failed)
	require.Greater(t, failed, 50)
	o.check(t, s)
	require.NoError(t, s.Close())
	s = open(t, disk)
	o.check(t, s)
	require.NoError(t, s.Close())
}
