package tally

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestKilledProcessLeavesItsCounts runs this test's binary again and kills it.
func TestKilledProcessLeavesItsCounts(t *testing.T) {
	if dir := os.Getenv("TALLY_DIR"); dir != "" {
		f, err := Create(dir, 7, 2)
		require.NoError(t, err)
		atomic.StoreUint64(&f.Cell(0).Accepted, 5)
		atomic.StoreUint64(&f.Cell(1).Accepted, 12)
		atomic.StoreUint64(&f.Cell(1).Kept, 11)
		p, err := os.FindProcess(os.Getpid())
		require.NoError(t, err)
		require.NoError(t, p.Kill())
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", t.Name())
	cmd.Env = append(os.Environ(), "TALLY_DIR="+dir)
	require.Error(t, cmd.Run())
	runs, err := Runs(dir)
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.Equal(t, uint64(7), runs[0].Run)
	require.Equal(t, []Cell{{5, 0}, {12, 11}}, runs[0].Cells)
	require.True(t, runs[0].SameBoot)
	require.NoError(t, runs[0].Remove())
	runs, err = Runs(dir)
	require.NoError(t, err)
	require.Empty(t, runs)
}

func TestRunThatEndedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir, 7, 2)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	runs, err := Runs(dir)
	require.NoError(t, err)
	require.Empty(t, runs)
	runs, err = Runs(filepath.Join(dir, "none"))
	require.NoError(t, err)
	require.Empty(t, runs)
}

// TestDamagedTallyTellsNothing: any bytes may be in the file after a power cut.
func TestDamagedTallyTellsNothing(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(dir, 7, 3)
	require.NoError(t, err)
	b, err := os.ReadFile(f.path)
	require.NoError(t, err)
	for _, cut := range []int{0, 7, 8, 40, 63, 64, len(b) - 1} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "run-8.tally"), b[:cut], 0o600))
		runs, err := Runs(dir)
		require.NoError(t, err)
		require.Empty(t, runs[0].Cells)
	}
	for i := 32; i < 40; i++ {
		b[i] = 0xff
	}
	require.Empty(t, decode(b).Cells)
}
