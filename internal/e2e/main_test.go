package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// binary is the path of the built program.
var binary string

func TestMain(m *testing.M) { os.Exit(runAll(m)) }

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cairn-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the binary:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "cairn")
	// As it is released, not as the tests are built: no race detector.
	build := exec.Command("go", "build", "-race=false", "-o", binary, "cairn")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the binary: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "the tests leave goroutines behind:", err)
			return 1
		}
	}
	return code
}

// pollEvery is how often eventually looks: often enough to measure a second by.
const pollEvery = 10 * time.Millisecond

// eventually polls until done returns true, and fails after limit with what done
// said last. Polling is for what another process does; nothing else can tell us.
func eventually(t testing.TB, limit time.Duration, done func() (ok bool, state string)) {
	t.Helper()
	end := time.Now().Add(limit)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, state := done()
		if ok {
			return
		}
		if time.Now().After(end) {
			require.FailNow(t, "not in time", "after %s: %s", limit, state)
		}
		<-tick.C
	}
}
