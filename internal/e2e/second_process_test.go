package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// file is what a look at one finds.
type file struct {
	modified time.Time
	content  string
}

// files returns everything that is in a directory.
func files(t *testing.T, dir string) map[string]file {
	t.Helper()
	out := map[string]file{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		f := file{modified: info.ModTime()}
		if e.Name() == "LOCK" {
			f.modified = time.Time{} // who asks for the lock opens it to write, and writes nothing
		}
		if e.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f.content = string(b)
		}
		out[path] = f
		return nil
	}))
	return out
}

// TestASecondProcessTouchesNothing starts one on a data dir that has everything in it:
// it is refused before it has made, changed or removed a file.
func TestASecondProcessTouchesNothing(t *testing.T) {
	t.Parallel()
	s := startWith(t, nil, "--grace", "1s", "--flush-interval", "1h")
	q := newSequencer(t, s)
	require.Equal(t, 200, q.Next())
	s.Send("sent:7|c")
	eventually(t, seenLimit, func() (bool, string) {
		return s.Total("sent", "1s") == 7, "it does not count"
	})
	// Nothing is written once the datagram is journaled.
	var before map[string]file
	still := 0
	eventually(t, seenLimit, func() (bool, string) {
		was := before
		before = files(t, s.Dir)
		if still++; len(was) == 0 || !sameFiles(was, before) {
			still = 0
		}
		return still > 200, "the server goes on writing"
	})
	kinds := map[string]bool{}
	for path := range before {
		kinds[filepath.Ext(path)] = true
	}
	for _, kind := range []string{".wal", ".tally", ".pid"} {
		require.True(t, kinds[kind], "no %s file in %v", kind, kinds)
	}
	for range 3 {
		says := refuse(t, 1, nil, "--data-dir", s.Dir)
		require.Contains(t, says, "in use")
		after := files(t, s.Dir)
		for path, f := range before {
			require.Equal(t, f, after[path], strings.TrimPrefix(path, s.Dir))
		}
		require.Len(t, after, len(before))
	}
	q.Check()
	s.MustStop()
}

func sameFiles(a, b map[string]file) bool {
	for path, f := range a {
		if b[path] != f {
			return false
		}
	}
	return len(a) == len(b)
}
