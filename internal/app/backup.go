package app

import (
	"context"
	"errors"
	"net/http"

	"cairn/ingest"
	"cairn/internal/engine"
	"cairn/web"
)

// BackupReport is the answer of POST /api/backup.
type BackupReport struct {
	Dir    string        `json:"dir"`
	Bytes  int64         `json:"bytes"`
	Events uint64        `json:"events"` // in the store; what was not flushed is in the journal
	Cursor engine.Cursor `json:"cursor"`
	TookMS int64         `json:"took_ms"`
}

// backup is POST /api/backup.
func (a *App) backup(ctx context.Context, dir string) (report any, refusal *ingest.Refusal) {
	begin := a.env.Clock.Now()
	b, err := a.engine.Backup(ctx, dir)
	end := a.env.Clock.Now()
	last := &web.Backup{Time: end.Unix(), Dir: dir, OK: err == nil, Result: "the backup is whole", TookMS: end.Sub(begin).Milliseconds()}
	if err == nil {
		last.Bytes = b.Bytes
	} else {
		last.Result = err.Error()
	}
	if !errors.Is(err, engine.ErrBackingUp) { // that one will tell for itself
		a.backups.set(last)
	}
	if err == nil {
		return &BackupReport{dir, b.Bytes, b.Events, b.Cursor, last.TookMS}, nil
	}
	refusal = &ingest.Refusal{Status: http.StatusInternalServerError, Sentence: err.Error()}
	switch {
	case errors.Is(err, engine.ErrBackingUp) || errors.Is(err, engine.ErrTaken):
		refusal.Status = http.StatusConflict
	case errors.Is(err, engine.ErrTarget):
		refusal.Status = http.StatusBadRequest
	case errors.Is(err, engine.ErrNoBackupNow):
		refusal.Status, refusal.Wait = http.StatusServiceUnavailable, verifyWait
	case errors.Is(err, engine.ErrShort):
		refusal.Status = http.StatusInsufficientStorage
	default:
		a.env.Log.Error("a backup failed", "error", err)
	}
	return nil, refusal
}
