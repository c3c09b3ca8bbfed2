package tsdb

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/clock"
)

// slow is how long an operation of the disk, or a stall, may take before it is worth a
// line in the log: a flush waits for it, and the next one is due soon after.
const slow = time.Second

// health keeps what Pebble tells of itself that its metrics do not hold. Pebble calls it
// with locks held, and from what watches the disk: nothing here may wait or write, so
// what is to be logged is kept until tell. All of it is of a fixed size.
type health struct {
	log      *slog.Logger
	clock    clock.Clock
	failures atomic.Int32 // in a row

	mu     sync.Mutex // guards those below
	stalls [numStalls]Stall
	since  time.Time // of the stall that goes on; zero: none does
	why    stallReason
	disk   SlowDisk
	failed uint64
	untold struct {
		stall time.Duration // the longest
		why   stallReason
		disk  vfs.DiskSlowInfo // the longest
	}
}

// stallReason is why Pebble does not take a write yet.
type stallReason uint8

const (
	stallMemtables stallReason = iota // those that are full are not written yet
	stallTables                       // too many of the newest tables overlap
	numStalls
)

func (r stallReason) String() string {
	return [...]string{stallMemtables: "memtables", stallTables: "tables"}[r]
}

// Stall is how often and how long writes waited for one reason.
type Stall struct {
	Reason string
	Count  uint64
	Took   time.Duration
}

// SlowDisk is what was seen of operations of the disk that took longer than a second. One
// that lasts is seen about every two seconds.
type SlowDisk struct {
	Seen    uint64
	Longest time.Duration
}

func newHealth(o Options) *health {
	h := &health{log: o.Log, clock: o.Clock}
	if h.clock == nil {
		h.clock = clock.NewSystem()
	}
	for r := range h.stalls {
		h.stalls[r].Reason = stallReason(r).String()
	}
	return h
}

// watch returns fs, so that operations that change it are timed. What does that has a goroutine for
// each file that is open for writing, and ends it with the file.
func (h *health) watch(fs vfs.FS) (vfs.FS, io.Closer) {
	return vfs.WithDiskHealthChecks(fs, slow, nil, h.diskSlow)
}

func (h *health) diskSlow(i vfs.DiskSlowInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disk.Seen++
	h.disk.Longest = max(h.disk.Longest, i.Duration)
	if i.Duration > h.untold.disk.Duration {
		h.untold.disk = i
	}
}

func (h *health) stallBegin(i pebble.WriteStallBeginInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.why = stallTables
	if strings.Contains(i.Reason, "memtable") {
		h.why = stallMemtables
	}
	h.stalls[h.why].Count++
	h.since = h.clock.Now()
}

func (h *health) stallEnd() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.since.IsZero() {
		return
	}
	took := h.clock.Now().Sub(h.since)
	h.since = time.Time{}
	h.stalls[h.why].Took += took
	if took > h.untold.stall {
		h.untold.stall, h.untold.why = took, h.why
	}
}

// listen returns what hands it all over. fatal ends the process. gate is told what works
// in the background.
func (h *health) listen(l pebbleLogger, gate *columnGate) *pebble.EventListener {
	return &pebble.EventListener{
		CompactionBegin: func(pebble.CompactionInfo) { gate.working.Add(1) },
		CompactionEnd:   func(pebble.CompactionInfo) { gate.working.Add(-1) },
		FlushBegin:      func(pebble.FlushInfo) { gate.working.Add(1) },
		BackgroundError: func(err error) {
			h.mu.Lock()
			h.failed++
			h.mu.Unlock()
			l.Errorf("background error: %s", err)
			if h.failures.Add(1) == maxFailures && l.fatal != nil {
				l.end(fmt.Sprintf("the store cannot go on: what it writes in the background fails again and again: %s", err))
			}
		},
		FlushEnd: func(i pebble.FlushInfo) {
			gate.working.Add(-1)
			if i.Err == nil {
				h.failures.Store(0)
			}
		},
		WriteStallBegin: h.stallBegin,
		WriteStallEnd:   h.stallEnd,
	}
}

// tell logs what took longer than a second since it was called last.
func (h *health) tell() {
	h.mu.Lock()
	stall, why, disk := h.untold.stall, h.untold.why, h.untold.disk
	h.untold.stall, h.untold.disk = 0, vfs.DiskSlowInfo{}
	h.mu.Unlock()
	if stall > slow {
		h.log.Warn(fmt.Sprintf("the store took no writes for %.1f s, because %s; if this comes again the disk is too slow, or the processor too busy, for what is counted",
			stall.Seconds(), [...]string{
				stallMemtables: "what it holds in memory was not written to the disk yet",
				stallTables:    "compactions are behind: too many tables overlap",
			}[why]))
	}
	if disk.Duration > slow {
		h.log.Warn(fmt.Sprintf("the disk is slow: the operation %q on the store's file %s took %.1f s or longer; flushes wait for it meanwhile",
			disk.OpType, filepath.Base(disk.Path), disk.Duration.Seconds()))
	}
}
