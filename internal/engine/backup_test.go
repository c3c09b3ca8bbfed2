package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/crashdisk"
	"cairn/tsdb"
)

// restored opens what a backup holds as a data dir of its own: with what was sure, and so many
// events deleted, when it was begun, and of the units each in whole or not at all.
func (w *world) restored(mem *crashdisk.Disk, backup string, sure []event, gone int, units [][]event, batches []*batch) []event {
	quiet := slog.New(slog.DiscardHandler)
	r, err := VerifyDir(context.Background(), mem, backup, w.clock, quiet)
	require.NoError(w.t, err)
	require.True(w.t, r.Equal, "of the backup: %+v", r)
	before := treeOf(w.t, mem, backup)
	require.NoError(w.t, mem.RemoveAll("restored"))
	b, err := Restore(context.Background(), mem, backup, "restored", quiet)
	require.NoError(w.t, err)
	require.EqualValues(w.t, tsdb.Format, b.StoreFormat)
	require.Equal(w.t, before, treeOf(w.t, mem, backup), "the backup was changed")
	again := newWorld(w.t, w.pick)
	again.o, again.clock, again.mem, again.fs = w.o, w.clock, mem, mem
	again.o.Dir, again.gone = "restored", gone
	again.open()
	again.replay()
	events := again.settle(sure, units)
	for _, b := range batches {
		again.again(b)
	}
	again.requireExactly(events)
	again.tick()
	again.flush()
	again.requireExactly(events)
	require.NoError(w.t, again.e.Close())
	r, err = VerifyDir(context.Background(), mem, "restored", w.clock, quiet)
	require.NoError(w.t, err)
	require.True(w.t, r.Equal, "of what was restored: %+v", r)
	return events
}

// treeOf returns the files below a directory, with their sizes.
func treeOf(t require.TestingT, fs vfs.FS, dir string) (out []string) {
	names, err := fs.List(dir)
	require.NoError(t, err)
	slices.Sort(names)
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		require.NoError(t, err)
		if info.IsDir() {
			out = append(out, treeOf(t, fs, path)...)
		} else {
			out = append(out, fmt.Sprint(path, " ", info.Size()))
		}
	}
	return out
}

// TestBackupHoldsWhatWasTaken takes a backup after anything that can be done to an engine,
// and goes on with the engine and with what is restored: both have everything.
func TestBackupHoldsWhatWasTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "pick") })
		if w.pick(3) == 0 { // another disk
			w.fs = withoutLinks(w.mem)
		}
		w.open()
		w.replay()
		taken := 0
		for range 40 {
			w.work()
			if w.pick(10) > 0 || taken == 3 {
				continue
			}
			taken++
			if !w.ready {
				_, err := w.e.Backup(context.Background(), "b0")
				require.ErrorIs(t, err, ErrNoBackupNow)
				w.replay()
			}
			dir := fmt.Sprint("b", taken)
			w.keep(func(event) bool { return false }, func() error {
				b, err := w.e.Backup(context.Background(), dir)
				if err == nil {
					require.EqualValues(t, w.e.Store.Totals().Events, b.Events)
				}
				return err
			})
			sure, gone, batches := slices.Clone(w.sure), w.gone, slices.Clone(w.batches)
			copied := w.mem.CrashClone(vfs.CrashCloneCfg{}) // nothing of it may wait for a sync
			w.restored(copied, dir, sure, gone, nil, batches)
			_, err := w.e.Backup(context.Background(), dir)
			require.ErrorIs(t, err, ErrTaken)
			w.work()
			w.restored(w.mem, dir, sure, gone, nil, batches) // what goes on does not reach it
			w.requireExactly(w.all())
		}
		w.close()
		b, err := BackupDir(context.Background(), w.fs, "data", "last", "1", w.clock, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		if w.ready { // else it is in the journal
			require.EqualValues(t, number(w.sure)+w.gone, b.Events)
		}
		w.restored(w.mem, "last", w.sure, w.gone, nil, w.batches)
	})
}

// withoutLinks is a file system on which the backup lies on another disk than the store.
func withoutLinks(mem *crashdisk.Disk) vfs.FS {
	return errorfs.Wrap(mem, injector(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLink && !strings.Contains(op.Path, "data/store") {
			return syscall.EXDEV
		}
		return nil
	}))
}

// linking keeps images from being taken while a link is made: MemFS waits for itself then.
type linking struct {
	vfs.FS
	mu *sync.Mutex
}

func (l linking) Link(from, to string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.FS.Link(from, to)
}

func (l linking) Unwrap() vfs.FS { return l.FS }

// TestPowerLossDuringBackup loses power at each so many writes of a backup, while batches
// are sent: the data dir has everything, and the backup is whole or not there.
func TestPowerLossDuringBackup(t *testing.T) {
	whole, absent := 0, 0
	for seed := range seeds(t) {
		rng := rand.New(rand.NewPCG(seed, 5))
		w := newWorld(t, rng.IntN)
		w.steady = true
		c := &camera{w: w, rng: rand.New(rand.NewPCG(seed, 6)), every: 4, syncs: 2}
		naming := &camera{w: w, rng: c.rng, every: 1, syncs: 1} // of what makes it a backup
		looking := false
		w.fs = onlyWrites(linking{w.mem, &w.mu}, func(op errorfs.Op) {
			w.mu.Lock()
			on := looking
			w.mu.Unlock()
			switch base := path.Base(op.Path); {
			case on && (base == manifestName || base == incompleteName || base == "backup" || op.Kind == errorfs.OpRename):
				naming.look(op)
			case on:
				c.look(op)
			}
		})
		w.open()
		w.replay()
		for range 20 {
			w.send(w.newBatch())
			w.clock.Advance(time.Second)
			w.tick()
			w.flush()
		}
		sure := slices.Clone(w.sure)
		var later []*batch
		for range 6 {
			later = append(later, w.newBatch())
		}
		w.mu.Lock()
		looking = true
		w.mu.Unlock()
		var sending sync.WaitGroup
		sending.Go(func() {
			for _, b := range later {
				w.send(b)
			}
		})
		_, err := w.e.Backup(context.Background(), "backup")
		require.NoError(t, err)
		sending.Wait()
		w.mu.Lock()
		looking = false
		w.mu.Unlock()
		naming.look(errorfs.Op{}) // it is there
		w.requireExactly(w.all())
		w.close()
		rng.Shuffle(len(c.images), func(i, j int) { c.images[i], c.images[j] = c.images[j], c.images[i] })
		for _, m := range append(naming.images, c.images[:min(len(c.images), maxImages)]...) {
			if _, err := m.mem.Stat("backup"); err != nil {
				absent++
				continue
			}
			whole++
			var units [][]event
			for _, b := range later {
				units = append(units, b.events)
			}
			m.world(t, w.o, m.mem, rng).restored(m.mem, "backup", sure, 0, units, nil)
		}
		c.check(t, rng)
	}
	t.Logf("%d images with a whole backup, %d without one", whole, absent)
	require.NotZero(t, whole)
	require.NotZero(t, absent)
}

// TestBackupThatCannotBeMadeIsRefused, and leaves nothing.
func TestBackupThatCannotBeMadeIsRefused(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	full := false
	w.fs = errorfs.Wrap(w.mem, injector(func(op errorfs.Op) error {
		if full && op.Kind == errorfs.OpFileWrite && strings.HasPrefix(op.Path, "b.partial") {
			return syscall.ENOSPC
		}
		return nil
	}))
	w.open()
	w.replay()
	w.send(w.newBatch())
	require.NoError(t, w.mem.MkdirAll("there", 0o700))
	require.NoError(t, w.mem.MkdirAll("mine.partial/x", 0o700))
	require.NoError(t, w.mem.MkdirAll("left.partial/store", 0o700))
	f, err := w.mem.Create("left.partial/INCOMPLETE", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	backup := func(dir string) error {
		_, err := w.e.Backup(context.Background(), dir)
		return err
	}
	for dir, want := range map[string]error{
		"there": ErrTaken, "mine": ErrTaken, "none/b": ErrTarget, "data/b": ErrTarget, "data/store/b": ErrTarget, "data/backups/x/b": ErrTarget,
		"b.partial": ErrTarget, "b\x00": ErrTarget,
	} {
		require.ErrorIs(t, backup(dir), want, dir)
	}
	_, err = w.mem.Stat("mine.partial/x")
	require.NoError(t, err)
	full = true
	require.ErrorIs(t, backup("b"), syscall.ENOSPC)
	full = false
	for _, name := range []string{"b", "b.partial", "data/" + stagingName} {
		_, err = w.mem.Stat(name)
		require.True(t, isNotExist(err), name)
	}
	require.NoError(t, backup("left"), "what an earlier one has left is ours")
	require.NoError(t, backup("data/backups/one"))
	ctx, stop := context.WithCancel(context.Background())
	stop()
	_, err = w.e.Backup(ctx, "b")
	require.Error(t, err)
	_, err = w.e.backup.begin(context.Background(), time.Minute)
	require.NoError(t, err)
	require.ErrorIs(t, backup("b"), ErrBackingUp)
	w.e.backup.end()
	w.restored(w.mem, "data/backups/one", w.sure, 0, nil, w.batches)

	o := w.o
	o.FS, o.Clock, o.Dir = w.mem, w.clock, "left"
	_, err = Open(o)
	require.ErrorContains(t, err, "is a backup")
	w.close()
	w.e.backup.close()
	require.ErrorIs(t, backup("c"), ErrNoBackupNow)
}

// TestRestoreRefuses what is no whole backup, and a place that is not free.
func TestRestoreRefuses(t *testing.T) {
	w := newWorld(t, func(int) int { return 0 })
	w.o.segmentBytes = 300
	w.open()
	w.replay()
	for range 30 {
		w.send(w.newBatch())
	}
	_, err := w.e.Backup(context.Background(), "b")
	require.NoError(t, err)
	w.close()
	restore := func(mem *crashdisk.Disk, from, to string) error {
		_, err := Restore(context.Background(), mem, from, to, slog.New(slog.DiscardHandler))
		return err
	}
	require.ErrorContains(t, restore(w.mem, "data", "r"), "is not a backup")
	require.ErrorContains(t, restore(w.mem, "none", "r"), "is not a backup")
	require.ErrorContains(t, restore(w.mem, "b", "data"), "is not empty")
	require.ErrorContains(t, restore(w.mem, "b", "b/r"), "lies in the backup")
	require.NoError(t, w.mem.MkdirAll("half", 0o700))
	f, err := w.mem.Create("half/INCOMPLETE", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.ErrorContains(t, restore(w.mem, "b", "half"), "part of a backup")
	require.ErrorContains(t, restore(w.mem, "half", "r"), "not finished")
	for _, path := range treeOf(t, w.mem, "b") {
		path, _, _ = strings.Cut(path, " ")
		if strings.Contains(path, "OPTIONS") {
			continue // Pebble does without
		}
		m := w.mem.CrashClone(crashAll(1))
		require.NoError(t, m.Remove(path))
		require.Error(t, restore(m, "b", "r"), "without %s", path)
	}
	newer := w.mem.CrashClone(crashAll(1))
	f, err = newer.Create("b/BACKUP", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write([]byte(`{"version":"9.0","store_format":99}`))
	require.NoError(t, errors.Join(err, f.Close()))
	require.ErrorContains(t, restore(newer, "b", "r"), "has format 99")
	require.NoError(t, w.mem.MkdirAll("empty", 0o700))
	require.NoError(t, restore(w.mem, "b", "empty"))
}
