package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// deleted is the answer of DELETE /api/series.
type deleted struct {
	Metric, Kind string
	Series       int
	All          bool
	Events       *int
	Units        *float64
	Partitions   map[string]int
	DryRun       bool `json:"dry_run"`
}

func (s *server) delete(code int, args url.Values) (d deleted) {
	s.t.Helper()
	resp, body := s.Do(http.MethodDelete, "/api/series", args, nil)
	require.Equal(s.t, code, resp.StatusCode, "%s", body)
	requireSecurityHeaders(s.t, resp.Header, "a deletion")
	if code != http.StatusOK {
		readProblem(s.t, resp, body)
		return d
	}
	require.NoError(s.t, json.Unmarshal(body, &d))
	return d
}

// awaitReady waits until the journal is replayed.
func (s *server) awaitReady() {
	s.t.Helper()
	eventually(s.t, startLimit, func() (bool, string) {
		resp, body := s.Get("/-/ready", nil)
		return resp.StatusCode == http.StatusOK, string(body)
	})
}

// balanced returns the ledger, which must balance.
func (s *server) balanced() (q struct {
	Ledger struct {
		Imbalance     int64
		Units         float64 `json:"units_imbalance"`
		Faults        []string
		Deleted       int
		DeletedUnits  float64 `json:"deleted_units"`
		DeletedSeries int     `json:"deleted_series"`
	}
}) {
	s.t.Helper()
	s.getJSON("/api/quality", nil, &q)
	require.Zero(s.t, q.Ledger.Imbalance, "%v", q.Ledger.Faults)
	require.Zero(s.t, q.Ledger.Units)
	require.Empty(s.t, q.Ledger.Faults)
	return q
}

// TestDelete deletes a part of a metric and then all of it, with what is still in memory;
// counts on, restarts and is killed: nothing comes back, and all that came later is there.
func TestDelete(t *testing.T) {
	t.Parallel()
	off := startServer(t)
	off.delete(http.StatusForbidden, url.Values{"metric": {"hits"}})
	off.MustStop()

	s := startServer(t, "--allow-delete", "--grace", "10s", "--flush-interval", "10s", "--data-dir", off.Dir)
	s.awaitReady()
	s.Send("hits:3|c|#k:a", "hits:4|c|#k:b", "hits:1|g", "other:5|c")
	s.AwaitPackets(1)
	s.RequireTotal(7, "hits")
	s.RequireTotal(5, "other")
	s.delete(http.StatusNotFound, url.Values{"metric": {"none"}, "all": {"1"}})
	s.delete(http.StatusNotFound, url.Values{"metric": {"hits"}, "kind": {"set"}, "all": {"1"}})
	s.delete(http.StatusNotFound, url.Values{"metric": {"hits"}, "kind": {"counter"}, "filter": {"k:c"}})
	s.delete(http.StatusBadRequest, url.Values{"metric": {"hits"}, "all": {"1"}}) // there is a gauge, too

	a := url.Values{"metric": {"hits"}, "kind": {"counter"}, "filter": {"k:a"}}
	dry := url.Values{"metric": {"hits"}, "kind": {"counter"}, "filter": {"k:a"}, "dry_run": {"1"}}
	d := s.delete(http.StatusOK, dry)
	require.True(t, d.DryRun)
	require.Equal(t, 1, d.Series)
	s.RequireTotal(7, "hits")
	d = s.delete(http.StatusOK, a)
	require.False(t, d.DryRun || d.All)
	require.Nil(t, d.Events)
	require.Equal(t, 3.0, *d.Units)
	require.Equal(t, map[string]int{"1s": 1, "10s": 1, "1m": 1, "1h": 1}, d.Partitions)
	s.RequireTotal(4, "hits")
	mustVerify(t, "--url", "http://"+s.HTTP)
	s.Send("hits:10|c|#k:a")
	s.AwaitPackets(2)
	s.RequireTotal(14, "hits")
	d = s.delete(http.StatusOK, url.Values{"metric": {"hits"}, "kind": {"counter"}, "all": {"1"}})
	require.True(t, d.All)
	require.Equal(t, 2, d.Series)
	require.Equal(t, 3, *d.Events, "with that of the series that went before")
	d = s.delete(http.StatusOK, url.Values{"metric": {"hits"}, "all": {"1"}}) // the gauge is what is left
	require.Equal(t, "gauge", d.Kind)
	require.Nil(t, d.Units)
	q := s.balanced()
	require.Equal(t, 4, q.Ledger.Deleted)
	require.Equal(t, 17.0, q.Ledger.DeletedUnits)
	require.Equal(t, 4, q.Ledger.DeletedSeries)
	var list struct{ Metrics []struct{ Metric string } }
	s.getJSON("/api/metrics", nil, &list)
	for _, m := range list.Metrics {
		require.NotEqual(t, "hits", m.Metric)
	}

	resp, body := s.Do(http.MethodPost, "/api/ingest", nil, strings.NewReader("hits:20|c|#k:a"))
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
	s.RequireTotal(20, "hits")
	mustVerify(t, "--url", "http://"+s.HTTP)
	s.Kill()
	s = startServer(t, "--data-dir", off.Dir)
	s.awaitReady()
	s.RequireTotal(5, "other")
	s.RequireTotal(20, "hits")
	require.Equal(t, 4, s.balanced().Ledger.Deleted)
	s.Send("hits:1|c|#k:b")
	s.MustStop()
	mustVerify(t, "--data-dir", off.Dir)
}
