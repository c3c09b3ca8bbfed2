package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/clock"
	"cairn/internal/dirsync"
	"cairn/internal/journal"
	"cairn/internal/mutant"
	"cairn/internal/reconcile"
	"cairn/tsdb"
)

const (
	// manifestName is the file that makes a directory a backup.
	manifestName = "BACKUP"
	// incompleteName marks a directory that a backup, or a restore, has not finished. It
	// is locked as long as one is at work.
	incompleteName = "INCOMPLETE"
	// partial ends the name of a backup that is not finished.
	partial = ".partial"
	// stagingName is where the checkpoint is made, in the data dir: there it takes links
	// only, and no flush waits while tables are copied to another disk.
	stagingName = "backup.tmp"
	// backupsName is the directory in the data dir in which backups may lie.
	backupsName = "backups"
	// backupLimit ends a backup that takes too long: it keeps tables and segments.
	backupLimit = 12 * time.Hour
	// maxManifest bounds what is read of a BACKUP file.
	maxManifest = 64 << 10
)

var (
	// ErrBackingUp is returned by Backup while another one runs.
	ErrBackingUp = errors.New("a backup is under way already; there is one at a time")
	// ErrNoBackupNow is returned by Backup during a replay, and when the engine closes.
	ErrNoBackupNow = errors.New("no backup can be taken while the journal is replayed or the server stops")
	// ErrShort is returned by Backup where a disk has not enough room.
	ErrShort = errors.New("there is not enough room for a backup")
	// ErrTarget is returned where a backup cannot be made in that place.
	ErrTarget = errors.New("no backup can be made there")
	// ErrTaken is ErrTarget where something is there already.
	ErrTaken = fmt.Errorf("%w: it exists already", ErrTarget)
)

// Backup is what is known of one; as JSON it is the file BACKUP in it.
type Backup struct {
	Version     string `json:"version"` // of cairn
	StoreFormat uint64 `json:"store_format"`
	TakenAt     int64  `json:"taken_at"` // Unix second
	Cursor      Cursor `json:"cursor"`
	JournalEnd  uint64 `json:"journal_end"`    // a position; what was journaled before it is in the backup
	Events      uint64 `json:"events"`         // in the store
	Journaled   uint64 `json:"journal_events"` // in all records that were ever before JournalEnd
	Files       int    `json:"files"`          // this one left out
	Bytes       int64  `json:"bytes"`          // of them
}

// Cursor is the store's.
type Cursor struct {
	Watermark int64  `json:"watermark"`
	Cut       uint64 `json:"cut"`
	Oldest    uint64 `json:"oldest"`
	Journaled uint64 `json:"journaled"`
}

func (b *Backup) set(c tsdb.Cursor, t tsdb.Totals, j journal.Parts) {
	b.Cursor = Cursor{int64(c.Watermark), c.Cut, c.Oldest, c.Journaled}
	b.Events, b.JournalEnd, b.Journaled = t.Events, uint64(j.End), j.Events
}

// Backup makes a copy of store and journal in dir, which must not exist, while both go
// on. It has all that was acknowledged when it was called, and of what was acknowledged
// meanwhile each batch in whole or not at all. What a data dir of it holds after a start
// is what a crash at that moment would have left.
//
//  1. What is in the store's memory goes to tables, so that the log is short.
//  2. Flushes are paused, and deltas journaled. So nothing is committed, and no segment
//     let go of, between the next two: the journal begins where the store ends.
//  3. The store's checkpoint is made beside it: of links, so that the pause is short.
//  4. The journals' segments are held, up to what is durable. The one of series comes
//     second: it names all series of the records before.
//  5. Flushes go on. All is linked, or where that cannot be copied gently, to DIR.partial.
//  6. All is synced, and only then DIR.partial is renamed: no crash leaves a part of a
//     backup under the name of a whole one.
//
// How many events of datagrams a crash has lost that comes later is not in it: the
// tallies of a running process belong to that.
func (e *Engine) Backup(ctx context.Context, dir string) (_ *Backup, err error) {
	if e.replaying.Load() {
		return nil, ErrNoBackupNow
	}
	ctx, err = e.backup.begin(ctx, backupLimit)
	switch {
	case errors.Is(err, errBusy):
		return nil, ErrBackingUp
	case err != nil:
		return nil, ErrNoBackupNow
	}
	defer e.backup.end()
	if err := e.disk.short(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrShort, err)
	}
	begin := e.o.Clock.Now()
	c := &copier{ctx: ctx, fs: e.o.FS, pacer: reconcile.NewPacer(e.o.Clock), least: e.disk.floorOf}
	t, err := openTarget(e.o.FS, dir, e.o.Dir, e.real)
	if err != nil {
		return nil, err
	}
	b := &Backup{Version: e.o.Version, StoreFormat: tsdb.Format, TakenAt: begin.Unix()}
	if err = e.fill(c, t, b); err == nil {
		err = t.finish(c, b)
	}
	if err != nil {
		err = errors.Join(err, t.discard())
		if errors.Is(err, context.Canceled) {
			return nil, ErrNoBackupNow
		}
		return nil, fmt.Errorf("backup to %q: %w", dir, err)
	}
	e.o.Log.Info("a backup was taken", "dir", dir, "events", b.Events, "bytes", b.Bytes, "copied", c.copied, "took", e.o.Clock.Now().Sub(begin))
	return b, nil
}

// fill copies everything to t.
func (e *Engine) fill(c *copier, t *target, b *Backup) (err error) {
	fs := e.o.FS
	staging := fs.PathJoin(e.o.Dir, stagingName)
	if err := e.Store.Flush(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fs.RemoveAll(staging)) }()
	var records, series journal.Parts
	release := func() {}
	pause := e.Pump.Pause
	if mutant.On("backup-without-pause") {
		pause = func(do func() error) error { return do() }
	}
	err = pause(func() error {
		if err := fs.RemoveAll(staging); err != nil {
			return fmt.Errorf("remove what a crash left of a backup: %w", err)
		}
		if err := e.Store.Checkpoint(staging); err != nil {
			return err
		}
		var first, second func()
		records, first = e.Journal.Hold()
		series, second = e.series.Hold()
		release = func() { first(); second() }
		b.set(e.Store.Cursor(), e.Store.Totals(), records)
		return nil
	})
	defer func() { release() }()
	if err != nil {
		return err
	}
	return c.dataDir(staging, t.path, records, series)
}

// BackupDir is Backup of a data dir that no server uses.
func BackupDir(ctx context.Context, fs vfs.FS, data, dir, version string, c clock.Clock, log *slog.Logger) (_ *Backup, err error) {
	real := fs == nil
	if real {
		fs = vfs.Default
	}
	store, err := openDir(fs, data, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	b := &Backup{Version: version, TakenAt: c.Now().Unix()}
	if b.StoreFormat, err = store.Format(); err != nil {
		return nil, err
	}
	records, series, err := openParts(fs, data)
	if err != nil {
		return nil, err
	}
	snapshot := store.Snapshot()
	cursor, err := snapshot.Cursor()
	totals, err2 := snapshot.Totals()
	if err := errors.Join(err, err2, snapshot.Close()); err != nil {
		return nil, err
	}
	b.set(cursor, totals, records)
	t, err := openTarget(fs, dir, data, real)
	if err != nil {
		return nil, err
	}
	copies := &copier{ctx: ctx, fs: fs, least: defaultFloor}
	err = copies.dataDir(fs.PathJoin(data, "store"), t.path, records, series)
	if err == nil {
		err = t.finish(copies, b)
	}
	if err != nil {
		return nil, fmt.Errorf("backup to %q: %w", dir, errors.Join(err, t.discard()))
	}
	return b, nil
}

func openParts(fs vfs.FS, dir string) (records, series journal.Parts, err error) {
	a, err := journal.OpenArchive(fs, fs.PathJoin(dir, "journal"))
	if err != nil {
		return records, series, err
	}
	s, err := journal.OpenArchive(fs, fs.PathJoin(dir, "journal", "series"))
	if err != nil {
		return records, series, err
	}
	return a.Parts(), s.Parts(), nil
}

// readBackup reads the BACKUP file of a directory.
func readBackup(fs vfs.FS, dir string) (*Backup, error) {
	f, err := fs.Open(fs.PathJoin(dir, manifestName))
	if isNotExist(err) {
		if _, err := fs.Stat(fs.PathJoin(dir, incompleteName)); err == nil {
			return nil, fmt.Errorf("%q is a backup that was not finished; it can be removed", dir)
		}
		return nil, fmt.Errorf("%q is not a backup: it has no file %s", dir, manifestName)
	}
	if err != nil {
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s of the backup %q: %w", manifestName, dir, err)
	}
	b := new(Backup)
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("%s of the backup %q is damaged: %w", manifestName, dir, err)
	}
	if b.StoreFormat > tsdb.Format {
		return nil, fmt.Errorf("the backup %q has format %d, of cairn %s, and this version of cairn reads up to %d; use the version that made it, or a newer one", dir, b.StoreFormat, b.Version, tsdb.Format)
	}
	return b, nil
}

// requireDataDir refuses a directory that is a backup, which a start would change, or
// which was never finished.
func requireDataDir(fs vfs.FS, dir string) error {
	if err := requireWhole(fs, dir); err != nil {
		return err
	}
	if isBackup(fs, dir) {
		return fmt.Errorf("data dir %q is a backup, which must stay as it is; make a data dir of it with 'cairn restore %s --data-dir DIR'", dir, dir)
	}
	return nil
}

// requireWhole refuses a directory that a backup, or a restore, has not finished.
func requireWhole(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(fs.PathJoin(dir, incompleteName)); err == nil {
		return fmt.Errorf("data dir %q holds a part of a backup: what made it was ended, or is at work; if that has ended, remove it, and restore the backup again", dir)
	}
	return nil
}

func isBackup(fs vfs.FS, dir string) bool {
	_, err := fs.Stat(fs.PathJoin(dir, manifestName))
	return err == nil
}

// openDir opens the store of a data dir that no server uses, or of a backup. It makes the file
// LOCK if there is none, and one can be made: by that a server is kept out as long as the store
// is read. In a backup none starts.
func openDir(fs vfs.FS, dir string, log *slog.Logger) (*tsdb.Archive, error) {
	if err := requireWhole(fs, dir); err != nil {
		return nil, err
	}
	if _, err := fs.Stat(fs.PathJoin(dir, "store")); err == nil && !isBackup(fs, dir) {
		_ = makeLock(fs, dir) // the medium may be one that cannot be written: then no server can start either
	}
	return tsdb.OpenArchive(dir, tsdb.Options{FS: fs, Log: log})
}

// makeLock makes the file that who uses a data dir locks. One that is there stays.
func makeLock(fs vfs.FS, dir string) error {
	f, err := fs.OpenReadWrite(fs.PathJoin(dir, "LOCK"), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("make the file LOCK: %w", reason(err))
	}
	return f.Close()
}

// makeDurable syncs a directory that got files.
func makeDurable(fs vfs.FS, dirs ...string) error {
	if mutant.On("backup-not-synced") {
		return nil
	}
	for _, dir := range dirs {
		if err := dirsync.Sync(fs, dir); err != nil {
			return fmt.Errorf("sync %q: %w", dir, err)
		}
	}
	return nil
}
