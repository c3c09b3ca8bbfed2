package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestQueriesOfDeath: queries that would take for ever end with a sentence that says which
// limit they have reached; and batches that come meanwhile are answered and counted.
func TestQueriesOfDeath(t *testing.T) {
	s := settings()
	s.MaxSeries, s.MaxSeriesPerMetric = 20_000, 20_000
	s.Query.Time, s.Query.Samples, s.Query.Series = time.Second, 100_000, 10_000
	a, err := Open(s, env(vfs.NewMem(), new(lockedBuffer)))
	require.NoError(t, err)
	a.Start()
	require.Eventually(t, func() bool { return status(t, a, "/-/ready") == http.StatusOK }, 10*time.Second, 10*time.Millisecond)
	now := time.Now().Unix()
	sent := 0
	for part := range 50 { // 5,000 series, with events on six days
		var lines strings.Builder
		for i := range 600 {
			fmt.Fprintf(&lines, "all.%d:1|c|#id:%s%d|T%d\n", i%4, strings.Repeat("ab", 60), part*100+i%100, now-int64(i/100)*86400)
		}
		sent += post(t, a, lines.String())
	}
	// Of what the store has, expressions are tried for as long as a query may take.
	require.Eventually(t, func() bool { return a.Ledger().Stored == uint64(sent) }, 30*time.Second, 10*time.Millisecond)
	deaths := []struct{ path, says string }{
		{"/api/query?" + url.Values{"metric": {"all.*"}, "from": {"-365d"}, "step": {"1s"}}.Encode(), "11000 are allowed"},
		{"/api/query?" + url.Values{"metric": {"*"}, "from": {"-300d"}, "step": {"1h"}, "by": {"*"}}.Encode(), ""},
		{"/api/query?" + url.Values{"metric": {"*"}, "from": {"-300d"}, "step": {"1h"}, "filter": {"id=~(a|b|ab|.)*(a|b|ab)*[0-9]+x?.*"}, "by": {"*"}}.Encode(), ""},
		{"/api/query?" + url.Values{"metric": {"all.0"}, "filter": {"id=~(.?){1000}(.?){1000}(.?){1000}x"}}.Encode(), "2000 are allowed"},
		{"/api/query?" + url.Values{"metric": {"all.0"}, "filter": {"id=~(?:.?){990}x"}}.Encode(), "longer than 1s and was stopped"},
		{prometheus(now, `sum by (id) (increase({__name__=~"all.*"}[1s]))`, "1"), "exceeded maximum resolution of 11,000 points"},
		{prometheus(now, `sum by (id) (increase({__name__=~"all.*"}[1h]))`, "3600"), ""},
		{prometheus(now, `sort(rate({__name__=~"all.*"}[1d]))`, "3600"), ""},
		{prometheus(now, `increase({"all.0", id=~"(?:.?){990}x"}[1d])`, "3600"), ""},
		{prometheus(now, `increase({"all.0", id=~"(.?){1000}(.?){1000}(.?){1000}x"}[1d])`, "3600"), "2000 are allowed"},
	}
	for _, d := range deaths {
		done := make(chan string)
		begin := time.Now()
		go func() {
			resp, err := http.Get("http://" + a.HTTPAddr() + d.path)
			if err != nil {
				t.Error(err)
				close(done)
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			done <- fmt.Sprint(resp.StatusCode, " ", string(body))
		}()
		var answer string
		for waiting := true; waiting; {
			select {
			case answer = <-done:
				waiting = false
			default:
				sent += post(t, a, "beside:1|c\nbeside:2|c\n")
			}
		}
		t.Logf("%s after %s", answer[:min(200, len(answer))], time.Since(begin))
		if d.says != "" {
			require.Contains(t, answer, d.says)
		}
		require.Contains(t, []string{"422", "400"}, answer[:3], d.path)
		var problem struct{ Error string }
		require.NoError(t, json.Unmarshal([]byte(answer[4:]), &problem))
		require.NotEmpty(t, problem.Error)
	}
	http.DefaultClient.CloseIdleConnections()
	require.NoError(t, a.Close())
	require.Zero(t, a.Balance().Imbalance)
	require.EqualValues(t, sent, a.Ledger().Stored)
}

func status(t *testing.T, a *App, path string) int {
	t.Helper()
	resp, err := http.Get("http://" + a.HTTPAddr() + path)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// prometheus asks for 300 days in PromQL.
func prometheus(now int64, query, step string) string {
	return "/api/v1/query_range?" + url.Values{"query": {query}, "start": {fmt.Sprint(now - 300*86400)}, "end": {fmt.Sprint(now)}, "step": {step}}.Encode()
}

// post sends a batch and returns how many events of it count.
func post(t *testing.T, a *App, lines string) int {
	t.Helper()
	resp, err := http.Post("http://"+a.HTTPAddr()+"/api/ingest", "text/plain", strings.NewReader(lines))
	require.NoError(t, err)
	defer resp.Body.Close()
	var answer struct{ Accepted int }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, strings.Count(lines, "\n"), answer.Accepted)
	return answer.Accepted
}
