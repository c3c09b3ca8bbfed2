package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/config"
	"cairn/internal/engine"
	"cairn/internal/flush"
	"cairn/web"
)

// client asks a running App.
type client struct {
	t *testing.T
	a *App
}

func (c client) ask(method, path, body string, header ...string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequest(method, "http://"+c.a.HTTPAddr()+path, strings.NewReader(body))
	require.NoError(c.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return resp.StatusCode, string(b)
}

// must is ask for what is answered with code.
func (c client) must(code int, method, path, body string, header ...string) map[string]any {
	c.t.Helper()
	got, text := c.ask(method, path, body, header...)
	require.Equal(c.t, code, got, "%s %s: %s", method, path, text)
	out := map[string]any{}
	if text != "" {
		require.NoError(c.t, json.Unmarshal([]byte(text), &out), text)
	}
	return out
}

func startApp(t *testing.T, c config.Config, fs vfs.FS) client {
	t.Helper()
	a, err := Open(c, env(fs, new(lockedBuffer)))
	require.NoError(t, err)
	a.Start()
	<-a.engine.Ready()
	return client{t, a}
}

const board = `{"title":"%s","panels":[{"id":"p","type":"bars","w":4,"h":2,"query":{"metric":"m"}}]}`

// TestDashboardsAreKept: what was answered is there after a restart, and in a backup; a save on
// top of an old version is refused; an export can be imported as it is.
func TestDashboardsAreKept(t *testing.T) {
	fs, conf := vfs.NewMem(), settings()
	c := startApp(t, conf, fs)
	made := c.must(201, "POST", "/api/dashboards", fmt.Sprintf(board, "one"))
	path := "/api/dashboards/" + made["id"].(string)
	require.EqualValues(t, 1, made["version"])
	two := c.must(200, "PUT", path, strings.Replace(fmt.Sprintf(board, "two"), "{", `{"version":1,`, 1))
	require.EqualValues(t, 2, two["version"])
	refused := c.must(409, "PUT", path, fmt.Sprintf(board, "lost"), "If-Match", `"1"`)
	require.Contains(t, refused["error"], "somebody else has saved this dashboard meanwhile: it has version 2")
	c.must(409, "POST", path+"/versions/1/restore", `{"version":1}`)
	require.Equal(t, "one", c.must(200, "GET", path+"/versions/1", "")["title"])
	three := c.must(200, "POST", path+"/versions/1/restore", `{"version":2}`)
	require.Equal(t, []any{"one", 3.0}, []any{three["title"], three["version"]})
	_, exported := c.ask("GET", path, "")
	other := c.must(201, "POST", "/api/dashboards", exported)
	require.NotEqual(t, made["id"], other["id"])
	require.Equal(t, three["panels"], other["panels"])
	c.must(409, "DELETE", "/api/dashboards/"+other["id"].(string), "", "If-Match", "7")
	c.must(204, "DELETE", "/api/dashboards/"+other["id"].(string), "")
	c.must(404, "GET", "/api/dashboards/"+other["id"].(string), "")
	require.Nil(t, c.must(200, "GET", "/api/status", "")["last_backup"])
	c.must(200, "POST", "/api/backup", `{"dir":"/b"}`)
	c.must(409, "POST", "/api/backup", `{"dir":"/b"}`)
	last := c.must(200, "GET", "/api/status", "")["last_backup"].(map[string]any)
	require.Equal(t, []any{"/b", false}, []any{last["dir"], last["ok"]})
	require.Contains(t, last["result"], "exists")
	c.must(204, "DELETE", path, "")
	require.NoError(t, c.a.Close())

	c = startApp(t, conf, fs)
	require.Empty(t, c.must(200, "GET", "/api/dashboards", "")["dashboards"])
	require.NoError(t, c.a.Close())

	_, err := engine.Restore(context.Background(), fs, "/b", "restored", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	conf.DataDir = "restored"
	c = startApp(t, conf, fs)
	_, kept := c.ask("GET", path, "")
	require.JSONEq(t, exported, kept)
	list := c.must(200, "GET", path+"/versions", "")["versions"].([]any)
	require.Len(t, list, 3)
	require.Equal(t, "two", list[1].(map[string]any)["title"])
	require.NoError(t, c.a.Close())
}

// TestTwoSavers: of all who change the same version one gets through, and nothing is lost.
func TestTwoSavers(t *testing.T) {
	c := startApp(t, settings(), vfs.NewMem())
	path := "/api/dashboards/" + c.must(201, "POST", "/api/dashboards", fmt.Sprintf(board, "0"))["id"].(string)
	var wg sync.WaitGroup
	var saved, refused atomic.Int32
	for who := range 4 {
		wg.Go(func() {
			for version := 1; version <= 5; version++ {
				switch code, text := c.ask("PUT", path, fmt.Sprintf(board, fmt.Sprint(who)), "If-Match", fmt.Sprint(version)); code {
				case 200:
					saved.Add(1)
				case 409:
					refused.Add(1)
				default:
					t.Errorf("%d: %s", code, text)
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 5, saved.Load())
	require.EqualValues(t, 15, refused.Load())
	require.Len(t, c.must(200, "GET", path+"/versions", "")["versions"], 6)
	require.NoError(t, c.a.Close())
}

// TestCatalog: what is written about a metric comes back after a restart, and its tags are
// counted.
func TestCatalog(t *testing.T) {
	fs, conf := vfs.NewMem(), settings()
	conf.MaxSeriesPerMetric = 3
	c := startApp(t, conf, fs)
	c.a.Inject([]byte("m:1|c|#host:a,env:x\nm:1|c|#host:b,env:x\nm:1|c|#host:c,env:x\nm:1|c|#host:d,env:x\nm:1|g\nfew:1|c"))
	c.must(400, "PUT", "/api/metrics/meta?metric=m", `{"description":"d","unit":"u"}`)
	c.must(404, "PUT", "/api/metrics/meta?metric=none", `{"description":"d","unit":"u"}`)
	c.must(200, "PUT", "/api/metrics/meta?metric=m&kind=counter", `{"description":"people \u003c3","unit":"people"}`)
	require.NoError(t, c.a.Close())

	c = startApp(t, conf, fs)
	row := func() map[string]any {
		for _, r := range c.must(200, "GET", "/api/metrics", "")["metrics"].([]any) {
			if r := r.(map[string]any); r["metric"] == "m" && r["kind"] == "counter" {
				return r
			}
		}
		return nil
	}
	require.Equal(t, []any{"people <3", "people", nil}, []any{row()["description"], row()["unit"], row()["bytes"]})
	require.Eventually(t, func() bool {
		c.must(200, "GET", "/api/storage", "")
		return row()["bytes"] != nil
	}, 30*time.Second, time.Millisecond)
	c.must(200, "PUT", "/api/metrics/meta?metric=m&kind=counter", `{"description":"","unit":""}`)
	require.Equal(t, []any{"", ""}, []any{row()["description"], row()["unit"]})

	c.a.Inject([]byte("m:1|c|#host:d,env:x")) // known again, and folded
	got := c.must(200, "GET", "/api/metrics/cardinality?metric=m", "")["metrics"].([]any)
	require.Len(t, got, 2)
	m := got[0].(map[string]any)
	require.Equal(t, []any{"m", "counter", 4.0}, []any{m["metric"], m["kind"], m["stored_series"]})
	require.Equal(t, map[string]any{"key": "host", "values": 3.0, "series": 3.0}, m["tags"].([]any)[0])
	require.Equal(t, map[string]any{"key": "env", "values": 1.0, "series": 3.0}, m["tags"].([]any)[1])
	require.Equal(t, true, m["overflow"])
	require.Empty(t, got[1].(map[string]any)["tags"])
	require.NoError(t, c.a.Close())
}

// TestStatus: each stage says how it does, and settings where they come from.
func TestStatus(t *testing.T) {
	conf := settings()
	conf.Settings = []config.Setting{{Name: "readers", Value: "2", Default: "3", From: config.FromFlag, Where: "--readers", About: "a"}}
	c := startApp(t, conf, vfs.NewMem())
	_, text := c.ask("GET", "/api/config", "")
	require.JSONEq(t, `{"settings":[{"name":"readers","value":"2","default":"3","from":"flag","where":"--readers","about":"a"}]}`, text)
	var s web.Status
	_, text = c.ask("GET", "/api/status", "")
	require.NoError(t, json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&s))
	states := map[string]string{}
	for _, st := range s.Stages {
		states[st.Name] = st.State
		require.NotEmpty(t, st.Sentence)
	}
	require.Equal(t, map[string]string{
		"receiving": web.StateOK, "journal": web.StateWarning, "flush": web.StateOK, "store": web.StateOK, "disk": web.StateOK, "ledger": web.StateOK,
	}, states, "the journal is off in these settings: %s", text)
	c.a.engine.Agg.Registry.SetFull(true)
	require.Equal(t, web.StateWarning, c.a.receiving().State)
	require.Equal(t, web.StateOK, c.a.flushed(4*time.Second, flush.Stats{}).State)
	require.Equal(t, web.StateFailing, c.a.flushed(5*time.Second, flush.Stats{}).State, "a second of grace, and three flushes were missed")
	require.Equal(t, web.StateWarning, c.a.flushed(0, flush.Stats{Failed: 1}).State)
	require.NoError(t, c.a.Close())
}
