package tsdb

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// options returns Pebble's options; each differs from the default for the reason
// beside it.
func options(o Options, cache *pebble.Cache) *pebble.Options {
	p := &pebble.Options{
		FS:     o.FS,
		Cache:  cache,
		Merger: merger,
		// The default is the oldest format. This one has WAL sync chunks, which
		// tell a torn tail from damage, and checksums in table footers.
		FormatMajorVersion: pebble.FormatTableFormatV6,
		// A flush of 100,000 series is about 10 MB of operands; 64 MB holds
		// several, so that they meet in memory before they meet in a table.
		MemTableSize: 64 << 20,
		Logger:       pebbleLogger{log: o.Log, fatal: o.Fatal},
		// A count a day of partitions is small; it is one table cache entry each.
		MaxOpenFiles: 1000,
	}
	// Expired partitions go by range deletions; of a table that only partly lies in
	// one, that part is cut off without reading the rest.
	p.Experimental.EnableDeleteOnlyCompactionExcises = func() bool { return true }
	p.EventListener = listen(o)
	for i := range p.Levels {
		// A chunk is some hundred bytes to some kilobytes; 32 KiB blocks
		// compress better than the default's 4 KiB, and a scan reads them whole.
		p.Levels[i].BlockSize = 32 << 10
	}
	return p
}

// maxFailures in a row of what Pebble does in the background end the process: it tries
// again at once, and for ever, also while it is opened.
const maxFailures = 20

// listen returns what counts them.
func listen(o Options) *pebble.EventListener {
	l := pebbleLogger{log: o.Log, fatal: o.Fatal}
	var failures atomic.Int32
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			l.Errorf("background error: %s", err)
			if failures.Add(1) == maxFailures && o.Fatal != nil {
				l.end(fmt.Sprintf("the store cannot go on: what it writes in the background fails again and again: %s", err))
			}
		},
		FlushEnd: func(i pebble.FlushInfo) {
			if i.Err == nil {
				failures.Store(0)
			}
		},
	}
}

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
