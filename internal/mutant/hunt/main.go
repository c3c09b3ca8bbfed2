// Command hunt makes each planted mistake of internal/mutant in turn and runs the tests
// that are to catch it. It prints what became of each, and fails if one survives.
//
//	hunt [name ...]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/clock"
)

// mistake is one that is planted, and where the tests are that must catch it.
type mistake struct {
	name string
	in   string // package
	by   string // pattern of its tests
}

const (
	crashes = "^(TestEngineAgainstOracle|TestPowerLoss|TestPowerLossWhileAllRun)$"
	power   = "^TestPowerLoss"
	oracle  = "^TestEngineAgainstOracle$"
	backups = "^TestBackupHoldsWhatWasTaken$"
	deletes = "^(TestEngineAgainstOracle|TestWhateverHappensVerifiesAsEqual)$"
	easy    = "^(TestSlowSyncAndFlushes|TestAmendmentAfterTheDelta|TestCloseWithTheFuture|TestClockBackAfterRestart|TestSegmentsAreKeptAsLongAsNeeded)$"
)

var mistakes = []mistake{
	{"ack-before-sync", "internal/engine", power},
	{"segment-released-early", "internal/engine", crashes},
	{"segment-directory-not-synced", "internal/engine", power},
	{"parents-not-synced", "internal/engine", power},
	{"sequence-before-counts", "internal/engine", "^TestStalledSync$"},
	{"window-too-short", "internal/dedupe", "."},
	{"conflict-is-duplicate", "internal/engine", oracle},
	{"late-dropped-at-replay", "internal/engine", crashes},
	{"all-replayed", "internal/engine", crashes},
	{"replay-believes-windows", "internal/engine", crashes},
	{"unfinished-delta-counts", "internal/engine", "^TestUnfinishedDeltaDoesNotCount$"},
	{"cut-without-barrier", "internal/engine", "^(TestSlowSyncAndFlushes|TestPowerLossWhileAllRun)$"},
	{"slots-not-spilled", "internal/engine", easy},
	{"oldest-is-cut", "internal/engine", crashes},
	{"watermark-goes-back", "internal/engine", easy},
	{"kept-before-sync", "internal/engine", power},
	{"unkept-detached", "internal/engine", easy},
	{"series-not-synced", "internal/engine", power},
	{"loss-not-written", "internal/engine", "^TestLossIsKept$"},
	{"backup-without-pause", "internal/engine", backups},
	{"backup-named-early", "internal/engine", "^TestPowerLossDuringBackup$"},
	{"backup-not-synced", "internal/engine", backups},
	{"open-segment-linked", "internal/engine", backups},
	{"delete-without-flush", "internal/engine", deletes},
	{"deleted-refs-kept", "internal/flush", "^TestDeleteMakesNewSeries$"},
	{"deleted-accounts-kept", "internal/engine", deletes},
	{"deleted-hours-kept", "internal/engine", deletes},
	{"deletion-not-recorded", "internal/engine", deletes},
	{"body-not-checked", "internal/journal", "."},
	{"end-not-believed", "internal/journal", "."},
}

// testTime is how long the tests may take for one mistake: one that makes them hang is
// caught too.
const testTime = time.Minute

func main() {
	survived, err := hunt(os.Args[1:])
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "hunt:", err)
		os.Exit(1)
	case survived > 0:
		fmt.Fprintf(os.Stdout, "%d survived: a test is missing, or not good enough.\n", survived)
		os.Exit(1)
	}
}

func hunt(names []string) (survived int, err error) {
	dir, err := os.MkdirTemp("", "cairn-mutants-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	built := map[string]string{}
	for _, m := range mistakes {
		if built[m.in] != "" {
			continue
		}
		built[m.in] = filepath.Join(dir, strings.ReplaceAll(m.in, "/", "-")+".test")
		if out, err := exec.Command("go", "test", "-c", "-tags", "mutants", "-o", built[m.in], "./"+m.in).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("build the tests of %s: %w\n%s", m.in, err, out)
		}
	}
	sound := map[mistake]bool{} // tests that pass without a mistake; the name is empty
	now := clock.NewSystem()
	for _, m := range mistakes {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		if none := (mistake{"", m.in, m.by}); !sound[none] {
			if failed, out := none.run(built[m.in]); failed {
				return survived, fmt.Errorf("the tests %s of %s fail without a mistake:\n%s", m.by, m.in, out)
			}
			sound[none] = true
		}
		begin := now.Now()
		caught, out := m.run(built[m.in])
		verdict := "SURVIVED"
		if caught {
			verdict = "caught by " + failedTest(out)
		} else {
			survived++
		}
		fmt.Fprintf(os.Stdout, "%-30s %5.1f s  %s\n", m.name, now.Now().Sub(begin).Seconds(), verdict)
	}
	return survived, nil
}

// run runs the tests with the mistake, and reports whether they fail.
func (m mistake) run(binary string) (failed bool, output string) {
	ctx, cancel := context.WithTimeout(context.Background(), testTime+10*time.Second)
	defer cancel()
	args := []string{"-test.run", m.by, "-test.failfast", "-test.timeout", testTime.String()}
	if m.by == crashes || m.by == oracle || m.by == backups || m.by == deletes {
		args = append(args, "-rapid.shrinktime", "1ms", "-rapid.nofailfile") // it is enough that it fails
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = m.in
	cmd.Env = append(os.Environ(), "CAIRN_MUTANT="+m.name)
	out, err := cmd.CombinedOutput()
	return err != nil, string(out)
}

// failedTest finds the first test that failed in the output, or what else it says.
func failedTest(out string) string {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "--- FAIL: "); ok {
			name, _, _ = strings.Cut(name, " ")
			return name
		}
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return line[:min(len(line), 80)]
		}
	}
	return "an exit status"
}
