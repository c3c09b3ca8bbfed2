package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/clock"
	"cairn/internal/journal"
	"cairn/internal/reconcile"
	"cairn/tsdb"
)

// verifyLimit ends a verification that takes too long: it keeps segments of the journal
// and tables of the store from being removed.
const verifyLimit = 15 * time.Minute

// verifyEvents bounds what is counted again of a running server's journal: it takes
// 1.5 µs an event, and a third of a core, which is four minutes.
const verifyEvents = 50_000_000

var errBusy = errors.New("it runs already")

var (
	// ErrInUse is returned by VerifyDir where a server has the data dir.
	ErrInUse = tsdb.ErrInUse
	// ErrVerifying is returned by Verify while another one runs.
	ErrVerifying = errors.New("a verification is under way already; there is one at a time")
	// ErrNotNow is returned by Verify during a replay, and when the engine closes.
	ErrNotNow = errors.New("nothing can be verified while the journal is replayed or the server stops")
	// ErrVerifyLimit is returned by Verify where it was ended.
	ErrVerifyLimit = fmt.Errorf("the verification took longer than %s and was ended; verify a copy of the data dir with --data-dir, or keep less with --journal-retention or --journal-size", verifyLimit)
)

// alone is work of which one may run at a time. Its zero value is ready.
type alone struct {
	mu     sync.Mutex         // guards those below
	stop   context.CancelFunc // ends the one that runs; nil: none does
	closed bool
	wg     sync.WaitGroup
}

// begin returns the context of a new one, which ends after limit; errBusy while one runs,
// and ErrNotNow after close.
func (v *alone) begin(ctx context.Context, limit time.Duration) (context.Context, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return nil, ErrNotNow
	case v.stop != nil:
		return nil, errBusy
	}
	ctx, v.stop = context.WithTimeout(ctx, limit)
	v.wg.Add(1)
	return ctx, nil
}

func (v *alone) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stop()
	v.stop = nil
	v.wg.Done()
}

// close ends the one that runs, waits for it, and lets no other begin.
func (v *alone) close() {
	v.mu.Lock()
	v.closed = true
	if v.stop != nil {
		v.stop()
	}
	v.mu.Unlock()
	v.wg.Wait()
}

// Verify compares what the journal holds with what the store does, while both go on.
// It is gentle: it takes a third of a core at most.
func (e *Engine) Verify(ctx context.Context) (report *reconcile.Report, err error) {
	if e.replaying.Load() {
		return nil, ErrNotNow
	}
	ctx, err = e.verify.begin(ctx, verifyLimit)
	if errors.Is(err, errBusy) {
		return nil, ErrVerifying
	}
	if err != nil {
		return nil, err
	}
	defer e.verify.end()
	snapshot := e.Store.Snapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	report, err = reconcileWith(ctx, reconcile.Options{
		Journal: e.Journal, Series: e.series, Snapshot: snapshot, Clock: e.o.Clock, Pacer: reconcile.NewPacer(e.o.Clock), Partial: !e.o.JournalUDP,
		Events: verifyEvents,
	})
	switch {
	case err == nil:
		return report, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, ErrVerifyLimit
	case errors.Is(err, context.Canceled):
		return nil, ErrNotNow
	}
	return nil, fmt.Errorf("verify: %w", err)
}

// VerifyDir compares the journal and the store of a data dir that no server uses, or
// of a copy. Nothing in it is changed, but that it gets a file LOCK.
func VerifyDir(ctx context.Context, fs vfs.FS, dir string, c clock.Clock, log *slog.Logger) (report *reconcile.Report, err error) {
	if fs == nil {
		fs = vfs.Default
	}
	store, err := openDir(fs, dir, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	records, err := journal.OpenArchive(fs, fs.PathJoin(dir, "journal"))
	if err != nil {
		return nil, err
	}
	series, err := journal.OpenArchive(fs, fs.PathJoin(dir, "journal", "series"))
	if err != nil {
		return nil, err
	}
	snapshot := store.Snapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	return reconcileWith(ctx, reconcile.Options{Journal: records, Series: series, Snapshot: snapshot, Clock: c})
}

// reconcileWith is reconcile.Run with what was deleted of the snapshot.
func reconcileWith(ctx context.Context, o reconcile.Options) (report *reconcile.Report, err error) {
	if o.Deleted, err = o.Snapshot.DeletedBelow(ctx); err != nil {
		return nil, err
	}
	return reconcile.Run(ctx, o)
}
