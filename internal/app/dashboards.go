package app

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cairn/ingest"
	"cairn/internal/metric"
	"cairn/tsdb"
	"cairn/web"
)

// dashboards keeps them in the store. An id is the store's number as 16 hexadecimal digits.
func (a *App) dashboards() *web.Dashboards {
	store := a.engine.Store
	return &web.Dashboards{
		List: func() []web.DashboardHead { return heads(store.Dashboards()) },
		Get: func(id string, version uint32) (web.DashboardHead, []byte, *ingest.Refusal) {
			d, err := tsdb.Dashboard{}, tsdb.ErrNoDashboard
			if no, ok := dashboardNumber(id); ok {
				d, err = store.Dashboard(no, version)
			}
			return head(d.DashboardHead), d.Text, a.refuseDocument(err)
		},
		Versions: func(id string) ([]web.DashboardHead, *ingest.Refusal) {
			no, ok := dashboardNumber(id)
			if !ok {
				return nil, a.refuseDocument(tsdb.ErrNoDashboard)
			}
			list, err := store.DashboardVersions(no)
			return heads(list), a.refuseDocument(err)
		},
		Create: func(title string, text []byte) (web.DashboardHead, *ingest.Refusal) {
			return a.saved(func() (tsdb.DashboardHead, error) { return store.AddDashboard(title, text, a.second()) })
		},
		Save: func(id string, had uint32, title string, text []byte) (web.DashboardHead, *ingest.Refusal) {
			no, ok := dashboardNumber(id)
			if !ok {
				return web.DashboardHead{}, a.refuseDocument(tsdb.ErrNoDashboard)
			}
			return a.saved(func() (tsdb.DashboardHead, error) { return store.SaveDashboard(no, had, title, text, a.second()) })
		},
		// A deletion is a write too, and would wait on a full disk.
		Delete: func(id string, had uint32) *ingest.Refusal {
			if refusal := a.refuseFull(); refusal != nil {
				return refusal
			}
			no, ok := dashboardNumber(id)
			if !ok {
				return a.refuseDocument(tsdb.ErrNoDashboard)
			}
			return a.refuseDocument(store.DeleteDashboard(no, had))
		},
	}
}

func (a *App) second() metric.UnixSec { return metric.SecOf(a.env.Clock.Now()) }

// saved saves if there is room.
func (a *App) saved(save func() (tsdb.DashboardHead, error)) (web.DashboardHead, *ingest.Refusal) {
	if refusal := a.refuseFull(); refusal != nil {
		return web.DashboardHead{}, refusal
	}
	h, err := save()
	return head(h), a.refuseDocument(err)
}

func (a *App) refuseFull() *ingest.Refusal {
	if err := a.engine.Writable(); err != nil {
		return &ingest.Refusal{Status: http.StatusInsufficientStorage, Sentence: fmt.Sprintf("nothing is saved: %s", err)}
	}
	return nil
}

// refuseDocument says what is answered to an error of a dashboard or a description.
func (a *App) refuseDocument(err error) *ingest.Refusal {
	if err == nil {
		return nil
	}
	r := &ingest.Refusal{Status: http.StatusInternalServerError, Sentence: err.Error()}
	switch {
	case errors.Is(err, tsdb.ErrNoDashboard) || errors.Is(err, tsdb.ErrNoVersion):
		r.Status = http.StatusNotFound
	case errors.Is(err, tsdb.ErrChanged):
		r.Status, r.Param = http.StatusConflict, "version"
	case errors.Is(err, tsdb.ErrManyDashboards) || errors.Is(err, tsdb.ErrManyDescribed):
		r.Status = http.StatusInsufficientStorage
	case errors.Is(err, tsdb.ErrLargeDashboard):
		r.Status = http.StatusRequestEntityTooLarge
	case errors.Is(err, tsdb.ErrClosed):
		r.Status, r.Wait = http.StatusServiceUnavailable, 1
	default:
		a.env.Log.Error("a dashboard or a description failed", "error", err)
		r.Sentence = "the store failed; the server's log says why, and counting goes on"
	}
	return r
}

// dashboardNumber reads an id; only the one form of a number is one.
func dashboardNumber(id string) (uint64, bool) {
	no, err := strconv.ParseUint(id, 16, 64)
	return no, err == nil && id == dashboardID(no)
}

func dashboardID(no uint64) string { return fmt.Sprintf("%016x", no) }

func head(h tsdb.DashboardHead) web.DashboardHead {
	return web.DashboardHead{ID: dashboardID(h.ID), Version: h.Version, Updated: int64(h.Saved), Title: h.Title}
}

func heads(list []tsdb.DashboardHead) []web.DashboardHead {
	out := make([]web.DashboardHead, 0, len(list))
	for _, h := range list {
		out = append(out, head(h))
	}
	return out
}

// catalog tells of metrics.
func (a *App) catalog() *web.Catalog {
	store := a.engine.Store
	return &web.Catalog{
		Described: func() map[metric.ID]web.Described {
			out := map[metric.ID]web.Described{}
			for id, d := range store.Descriptions() {
				out[id] = web.Described{Description: d.Text, Unit: d.Unit}
			}
			return out
		},
		Describe: func(id metric.ID, d web.Described) *ingest.Refusal {
			if refusal := a.refuseFull(); refusal != nil {
				return refusal
			}
			return a.refuseDocument(store.Describe(id, tsdb.Description{Text: d.Description, Unit: d.Unit}))
		},
		Bytes: a.engine.Counted,
		Cardinality: func(id metric.ID) (int, []web.KeyCardinality) {
			series, keys := store.Cardinality(id)
			out := make([]web.KeyCardinality, 0, len(keys))
			for _, k := range keys {
				out = append(out, web.KeyCardinality{Key: k.Key, Values: k.Values, Series: k.Series})
			}
			return series, out
		},
	}
}
