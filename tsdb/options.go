package tsdb

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
)

// Each batch of many series is one more sublevel of the newest tables. At sublevels of
// them they are merged into the level below, with the whole of the hours that they are
// of, which grow: half as many would be merged twice as often. A reader goes through
// them all, so it is not more. Pebble's default is 2, and costs more than twice the
// processor time (docs/decisions/0009).
const sublevels = 16

// stopSublevels is where writes wait for compactions: five minutes and more of flushes
// beyond those that are normal. Pebble's default, 12, is below these.
const stopSublevels = 48

// options returns Pebble's options; each differs from the default for the reason
// beside it. docs/decisions/0009 has what was measured, and what was left alone.
func options(o Options, cache *pebble.Cache) *pebble.Options {
	p := &pebble.Options{
		FS:     o.FS,
		Cache:  cache,
		Merger: newMerger(o.damage, o.columns),
		// The default is the oldest format. This one has WAL sync chunks, which
		// tell a torn tail from damage, and checksums in table footers. The newer ones
		// move large values to files of their own; a chunk is a few kilobytes.
		FormatMajorVersion: pebble.FormatTableFormatV6,
		// For batches below bulkRows only: some megabytes each. Four times as much doubles
		// what a flush takes and what a reader merges, and Pebble keeps some four logs of
		// this size to write to them again, however little is stored.
		MemTableSize: 16 << 20,
		// Pebble counts each sublevel twice.
		L0CompactionThreshold: 2 * sublevels,
		L0StopWritesThreshold: stopSublevels,
		// One compaction keeps up with a million series, and on two cores leaves one to
		// those that receive. Where there are more cores, half of them may catch up.
		CompactionConcurrencyRange: func() (lower, upper int) { return 1, max(1, runtime.GOMAXPROCS(0)/2) },
		Logger:                     pebbleLogger{log: o.Log, fatal: o.Fatal},
		// A count a day of partitions is small; it is one table cache entry each.
		MaxOpenFiles: 1000,
	}
	// So many are normal: more compactions at once are for when there are more.
	p.Experimental.L0CompactionConcurrency = 2 * sublevels
	// Expired partitions go by range deletions; of a table that only partly lies in
	// one, that part is cut off without reading the rest.
	p.Experimental.EnableDeleteOnlyCompactionExcises = func() bool { return true }
	p.EventListener = o.health.listen(pebbleLogger{log: o.Log, fatal: o.Fatal}, o.columns)
	for i := range p.Levels {
		// A chunk is some hundred bytes to some kilobytes, and a scan reads blocks whole:
		// the default of 4 KiB would hold one or two of them.
		p.Levels[i].BlockSize = 32 << 10
	}
	return p
}

// maxFailures in a row of what Pebble does in the background end the process: it tries
// again at once, and for ever, also while it is opened.
const maxFailures = 20

// pebbleLogger passes on what Pebble logs.
type pebbleLogger struct {
	log   *slog.Logger
	fatal func(string)
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...), "from", "pebble")
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error(fmt.Sprintf(format, args...), "from", "pebble")
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.end("the store cannot go on: " + fmt.Sprintf(format, args...))
}

// end ends the process. Pebble relies on not getting control back.
func (l pebbleLogger) end(sentence string) {
	if l.fatal != nil {
		l.fatal(sentence)
	}
	panic("BUG: Options.Fatal returned, after: " + sentence)
}
