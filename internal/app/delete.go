package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cairn/ingest"
	"cairn/internal/engine"
	"cairn/internal/flush"
	"cairn/internal/metric"
	"cairn/query"
	"cairn/tsdb"
)

// DeleteReport is the answer of DELETE /api/series.
type DeleteReport struct {
	Metric string `json:"metric"`
	Kind   string `json:"kind"`
	Series int    `json:"series"`
	All    bool   `json:"all"` // that the metric has
	// Events is null if not all go: the store does not know how many are of a series.
	Events     *uint64        `json:"events"`
	Units      *float64       `json:"units"`      // null of what is no counter
	Partitions map[string]int `json:"partitions"` // that hold something of it, by resolution
	DryRun     bool           `json:"dry_run"`
	TookMS     int64          `json:"took_ms"`
}

// delete is DELETE /api/series.
func (a *App) delete(ctx context.Context, q query.Deletion) (report any, refusal *ingest.Refusal) {
	begin := a.env.Clock.Now()
	d, err := a.engine.Delete(ctx, metric.ID{Name: q.Metric, Kind: q.Kind}, q.Filters, q.DryRun)
	if err != nil {
		return nil, a.deleteRefusal(err)
	}
	if d.Series == 0 {
		sentence := fmt.Sprintf("no series of %q matches; GET /api/tags?metric= lists what there is", q.Metric)
		if d.ID.Kind == 0 || !a.engine.Store.Known(d.ID) {
			sentence = fmt.Sprintf("there is no metric %q to delete from; GET /api/metrics lists the names and kinds", q.Metric)
		}
		return nil, &ingest.Refusal{Status: http.StatusNotFound, Sentence: sentence}
	}
	r := &DeleteReport{
		Metric: d.ID.Name, Kind: d.ID.Kind.String(), Series: d.Series, All: d.Whole, Partitions: make(map[string]int), DryRun: q.DryRun,
		TookMS: int64(a.env.Clock.Now().Sub(begin) / time.Millisecond),
	}
	if d.Whole {
		r.Events = &d.Events
	}
	if d.ID.Kind == metric.Counter {
		r.Units = &d.Units
	}
	for _, t := range metric.Tiers {
		r.Partitions[t.String()] = d.Partitions[t-1]
	}
	return r, nil
}

func (a *App) deleteRefusal(err error) *ingest.Refusal {
	refusal := &ingest.Refusal{Status: http.StatusInternalServerError, Sentence: err.Error()}
	var kinds *flush.KindsError
	switch {
	case errors.As(err, &kinds):
		refusal.Status, refusal.Param = http.StatusBadRequest, "kind"
	case errors.Is(err, engine.ErrDeleting):
		refusal.Status = http.StatusConflict
	case errors.Is(err, engine.ErrNoDeleteNow):
		refusal.Status, refusal.Wait = http.StatusServiceUnavailable, verifyWait
	case errors.Is(err, tsdb.ErrTooManyChunks):
		refusal.Status, refusal.Sentence = http.StatusRequestEntityTooLarge, tsdb.ErrTooManyChunks.Error()
	case errors.Is(err, engine.ErrDeleteLimit):
		refusal.Status = http.StatusServiceUnavailable
	case errors.Is(err, engine.ErrNoRoom):
		refusal.Status = http.StatusInsufficientStorage
	default:
		a.env.Log.Error("a deletion failed", "error", err)
	}
	return refusal
}
