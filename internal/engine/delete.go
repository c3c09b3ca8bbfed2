package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cairn/internal/flush"
	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// deleteLimit ends the search for what is to be deleted: meanwhile nothing is flushed, and
// datagrams are not journaled.
const deleteLimit = 30 * time.Second

var (
	// ErrDeleting is returned by Delete while another one runs.
	ErrDeleting = errors.New("a deletion is under way already; there is one at a time")
	// ErrNoDeleteNow is returned by Delete during a replay, and when the engine closes.
	ErrNoDeleteNow = errors.New("nothing can be deleted while the journal is replayed or the server stops")
	// ErrDeleteLimit is returned by Delete where it was ended; nothing is deleted then.
	ErrDeleteLimit = fmt.Errorf("to find what is to be deleted took longer than %s, and nothing was deleted; filter for fewer series, or delete all of the metric", deleteLimit)
	// ErrNoRoom is returned by Delete where the disk is nearly full: what came lately
	// must be flushed first.
	ErrNoRoom = errors.New("nothing can be deleted")
)

// Delete deletes series with all that came of them until now: see flush.Pump.Delete.
func (e *Engine) Delete(ctx context.Context, id metric.ID, match matcher.List, dry bool) (d flush.Deletion, err error) {
	if e.replaying.Load() {
		return d, ErrNoDeleteNow
	}
	ctx, err = e.deletion.begin(ctx, deleteLimit)
	switch {
	case errors.Is(err, errBusy):
		return d, ErrDeleting
	case err != nil:
		return d, ErrNoDeleteNow
	}
	defer e.deletion.end()
	if err := e.disk.short(); err != nil {
		return d, fmt.Errorf("%w: %w", ErrNoRoom, err)
	}
	d, err = e.Pump.Delete(ctx, id, match, dry)
	switch {
	case errors.Is(err, flush.ErrHeld) || errors.Is(err, context.Canceled):
		return d, ErrNoDeleteNow
	case errors.Is(err, context.DeadlineExceeded):
		return d, ErrDeleteLimit
	case err == nil && d.Series > 0 && !dry:
		e.o.Log.Info("series were deleted", "metric", d.ID.Name, "kind", d.ID.Kind.String(), "series", d.Series, "all", d.Whole, "events", d.Events, "units", d.Units)
	}
	return d, err
}
