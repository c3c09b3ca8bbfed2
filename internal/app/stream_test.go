package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/query"
)

// TestStreamOfTheEngine: what counts is in the next message, and both that and a query of
// the same second say the same.
func TestStreamOfTheEngine(t *testing.T) {
	c := clock.NewManual(time.Unix(1_800_000_000, 0))
	e := env(vfs.NewMem(), new(lockedBuffer))
	e.Clock = c
	s := settings()
	s.Query.AtOnce, s.Query.Time = 2, 5*time.Second
	a, err := Open(s, e)
	require.NoError(t, err)
	a.Start()
	const request = "?metric=m&by=k&from=-30s&step=1s&limit=2"
	a.Inject([]byte("m:1|c|#k:0"))
	resp, err := http.Get("http://" + a.HTTPAddr() + "/api/stream" + request)
	require.NoError(t, err)
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	event, full := next(t, r)
	require.Equal(t, "full", event)
	require.EqualValues(t, 1, full["total"])
	for i := range 4 {
		a.Inject(fmt.Appendf(nil, "m:%d|c|#k:%d", i+2, i))
		c.Advance(time.Second)
		event, delta := next(t, r)
		require.Equal(t, "delta", event, "one in thirty values changed, and one series came")
		fresh := get(t, a, "/api/query"+request)
		for _, k := range []string{"from", "to", "total", "series_matched", "truncated", "warnings"} {
			require.Equal(t, fresh[k], delta[k], k)
		}
		require.Len(t, delta["times"], 1)
		require.Equal(t, fresh["times"].([]any)[len(fresh["times"].([]any))-1], delta["times"].([]any)[0])
	}
	require.Len(t, get(t, a, "/api/queries")["slowest"], 2, "that of the stream, and the others")
	require.Contains(t, string(a.selfmon().Append(nil)), "cairn_streams 1\n")
	require.NoError(t, a.Close(), "with a stream open")
	_, err = io.ReadAll(r)
	require.NoError(t, err)
	http.DefaultClient.CloseIdleConnections()
}

// next reads an event of a stream.
func next(t *testing.T, r *bufio.Reader) (event string, data map[string]any) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			event = strings.TrimSpace(name)
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok {
			require.NoError(t, json.Unmarshal([]byte(text), &data))
			return event, data
		}
	}
}

func get(t *testing.T, a *App, target string) (body map[string]any) {
	t.Helper()
	resp, err := http.Get("http://" + a.HTTPAddr() + target)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
	return body
}

// TestQueriesLimitsArePassedOn: what is configured is what the executor goes by.
func TestQueriesLimitsArePassedOn(t *testing.T) {
	s := settings()
	s.Query.Time, s.Query.Series, s.Query.Samples, s.Query.Cache = time.Minute, 2, 3, 4<<20
	a, err := Open(s, env(vfs.NewMem(), new(lockedBuffer)))
	require.NoError(t, err)
	x := a.executor()
	require.Equal(t, query.Limits{Series: 2, Samples: 3, Time: time.Minute}, x.Limits)
	require.EqualValues(t, 4<<20, x.CacheBytes)
	require.NoError(t, a.Close())
}
