package engine

import (
	"context"
	"log/slog"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// filled returns a closed data dir and a backup b of it.
func filled(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, func(int) int { return 0 })
	w.open()
	w.replay()
	w.send(w.newBatch())
	_, err := w.e.Backup(context.Background(), "b")
	require.NoError(t, err)
	w.close()
	return w
}

// TestCompactionOfABackupIsRefused: its files are counted, and it could not be restored any more.
func TestCompactionOfABackupIsRefused(t *testing.T) {
	w := filled(t)
	quiet := slog.New(slog.DiscardHandler)
	before := treeOf(t, w.mem, "b")
	_, err := InspectDir(context.Background(), w.mem, "b", true, quiet)
	require.ErrorContains(t, err, "is a backup, which must stay as it is; make a data dir of it with 'cairn restore b --data-dir DIR'")
	require.Equal(t, before, treeOf(t, w.mem, "b"))
	_, err = InspectDir(context.Background(), w.mem, "b", false, quiet)
	require.NoError(t, err)
	require.Equal(t, before, treeOf(t, w.mem, "b"))
	_, err = Restore(context.Background(), w.mem, "b", "r", quiet)
	require.NoError(t, err)
	_, err = InspectDir(context.Background(), w.mem, "r", true, quiet)
	require.NoError(t, err)
}

// TestAnUnfinishedRestoreIsNoDataDir: a part of a backup must not become a whole one, nor be
// verified or inspected as what it is not.
func TestAnUnfinishedRestoreIsNoDataDir(t *testing.T) {
	w := filled(t)
	quiet := slog.New(slog.DiscardHandler)
	_, err := Restore(context.Background(), w.mem, "b", "half", quiet)
	require.NoError(t, err)
	f, err := w.mem.Create("half/INCOMPLETE", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for name, do := range map[string]func() error{
		"backup": func() error {
			_, err := BackupDir(context.Background(), w.mem, "half", "c", "v", w.clock, quiet)
			return err
		},
		"inspect": func() error { _, err := InspectDir(context.Background(), w.mem, "half", false, quiet); return err },
		"compact": func() error { _, err := InspectDir(context.Background(), w.mem, "half", true, quiet); return err },
		"verify":  func() error { _, err := VerifyDir(context.Background(), w.mem, "half", w.clock, quiet); return err },
	} {
		require.ErrorContains(t, do(), `data dir "half" holds a part of a backup`, name)
	}
	for _, name := range []string{"c", "c.partial"} {
		_, err := w.mem.Stat(name)
		require.True(t, isNotExist(err), name)
	}
}

// readOnly is a medium that cannot be written.
type readOnly struct{ vfs.FS }

func (readOnly) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, syscall.EROFS
}

// TestReadersHaveALock: a data dir that was restored, or copied without it, has the file by which its
// readers keep a server out. A backup needs none, and a medium that cannot be written is read without.
func TestReadersHaveALock(t *testing.T) {
	w := filled(t)
	quiet := slog.New(slog.DiscardHandler)
	has := func(dir string) bool {
		_, err := w.mem.Stat(dir + "/LOCK")
		return err == nil
	}
	_, err := Restore(context.Background(), w.mem, "b", "r", quiet)
	require.NoError(t, err)
	require.True(t, has("r"))
	require.NoError(t, w.mem.Remove("r/LOCK"))
	_, err = VerifyDir(context.Background(), readOnly{w.mem}, "r", w.clock, quiet)
	require.NoError(t, err)
	require.False(t, has("r"))
	_, err = VerifyDir(context.Background(), w.mem, "r", w.clock, quiet)
	require.NoError(t, err)
	require.True(t, has("r"))
	_, err = VerifyDir(context.Background(), w.mem, "b", w.clock, quiet)
	require.NoError(t, err)
	require.False(t, has("b"))
	require.NoError(t, w.mem.MkdirAll("other", 0o700))
	_, err = InspectDir(context.Background(), w.mem, "other", false, quiet)
	require.ErrorContains(t, err, "has no store")
	require.False(t, has("other"))
}
