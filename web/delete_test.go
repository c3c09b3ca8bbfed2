package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/ingest"
	"cairn/internal/metric"
	"cairn/query"
)

// TestDeleteRoute: nothing that a page of elsewhere sends, or that is not quite what a deletion
// is, gets any further.
func TestDeleteRoute(t *testing.T) {
	var asked []query.Deletion
	var refusal *ingest.Refusal
	s := startWith(t, Options{Delete: func(_ context.Context, d query.Deletion) (any, *ingest.Refusal) {
		asked = append(asked, d)
		return map[string]int{"series": 3}, refusal
	}})
	for target, param := range map[string]string{
		"": "metric", "?metric=": "metric", "?metric=a&metric=b": "metric", "?metric=a": "all", "?metric=a&dry_run=1": "all", "?metric=a&all=0": "all",
		"?metric=a&all=yes": "all", "?metric=a&all=": "all", "?metric=a&filter=k:v&all=1": "all", "?metric=a&kind=timer": "kind", "?metric=a&kind=gauge&kind=set": "kind",
		"?metric=a&filter=": "filter", "?metric=a&filter=k=~(": "filter", "?metric=a" + strings.Repeat("&filter=k:v", 33): "filter",
		"?metric=a&filters=k:v": "filters", "?metric=a&from=-1h": "from", "?metric=a&all=1&dry_run=": "dry_run", "?metric=a&all=1&dry_run=yes": "dry_run", "?metric=a&dryrun=1": "dryrun",
	} {
		resp, body := ask(t, s, "DELETE", "/api/series"+target)
		require.Equal(t, 400, resp.StatusCode, "%s: %s", target, body)
		require.Contains(t, body, `"param":"`+param+`"`, target)
	}
	for _, origin := range []string{"http://elsewhere.example", "null", "http://127.0.0.1:1"} {
		resp, body := ask(t, s, "DELETE", "/api/series?metric=a", "Origin", origin)
		require.Equal(t, 403, resp.StatusCode, body)
	}
	for _, method := range []string{"GET", "POST", "PUT", "HEAD"} {
		resp, _ := ask(t, s, method, "/api/series?metric=a")
		require.Equal(t, 405, resp.StatusCode, method)
		require.Equal(t, "DELETE", resp.Header.Get("Allow"))
	}
	// curl -d sends a form; without a length it comes in chunks.
	for _, form := range []io.Reader{strings.NewReader("filter=k:v&dry_run=1"), struct{ io.Reader }{strings.NewReader("filter=k:v")}} {
		req, err := http.NewRequest("DELETE", "http://"+s.Addr()+"/api/series?metric=a&all=1", form)
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, errors.Join(err, resp.Body.Close()))
		require.Equal(t, 400, resp.StatusCode, "%s", body)
		require.Contains(t, string(body), "a deletion has no body")
	}
	require.Empty(t, asked)

	resp, body := ask(t, s, "DELETE", "/api/series?metric=a&kind=gauge&dry_run=1&filter=k:v&filter="+url.QueryEscape("!z"), "Origin", "http://"+s.Addr())
	require.Equal(t, 200, resp.StatusCode, body)
	require.JSONEq(t, `{"series":3}`, body)
	require.Len(t, asked, 1)
	d := asked[0]
	require.Equal(t, "a", d.Metric)
	require.Equal(t, metric.Gauge, d.Kind)
	require.True(t, d.DryRun)
	require.True(t, d.Filters.Match(metric.NewTagset([]metric.Tag{{Key: "k", Value: "v"}})))
	require.False(t, d.Filters.Match(metric.NewTagset([]metric.Tag{{Key: "k", Value: "v"}, {Key: "z"}})))
	require.False(t, d.Filters.Match(metric.NewTagset(nil)))
	resp, _ = ask(t, s, "DELETE", "/api/series?metric=a&all=1&dry_run=0")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, query.Deletion{Metric: "a"}, asked[1])

	refusal = &ingest.Refusal{Status: 400, Sentence: "which", Param: "kind"}
	resp, body = ask(t, s, "DELETE", "/api/series?metric=a&all=1")
	require.Equal(t, 400, resp.StatusCode)
	require.JSONEq(t, `{"error":"which","param":"kind"}`, body)

	off := startWith(t, Options{})
	resp, body = ask(t, off, "DELETE", "/api/series?metric=a")
	require.Equal(t, 403, resp.StatusCode)
	require.Contains(t, body, "--allow-delete")
	require.Contains(t, body, "CAIRN_ALLOW_DELETE=true")
}
