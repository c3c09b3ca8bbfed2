package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/config"
	"cairn/internal/metric"
	"cairn/tsdb"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp writes the Date header from one goroutine for the process, and
		// its worker pool sleeps out its last round.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

func settings() config.Config {
	return config.Config{
		UDP: []config.Listen{{Dialect: "dogstatsd", Address: "127.0.0.1:0"}}, UDSMode: 0o600, HTTP: "127.0.0.1:0", DataDir: "data", Grace: time.Second, FlushInterval: time.Second, Readers: 2,
		UDPBuffer: 1 << 20, Line: metric.DefaultLineLimits, MaxMetrics: 1000, MaxSeries: 1000, MaxSeriesPerMetric: 1000, Cache: 1 << 20,
	}
}

// lockedBuffer is a log that a test reads while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func env(fs vfs.FS, log *lockedBuffer) Env {
	return Env{Clock: clock.NewSystem(), FS: fs, Log: slog.New(slog.NewTextHandler(log, nil)), Seed: 1}
}

func TestNothingStaysOpenAfterAFailure(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	fs, log := vfs.NewMem(), new(lockedBuffer)
	c := settings()
	c.HTTP = taken.Addr().String()
	_, err = Open(c, env(fs, log))
	require.ErrorContains(t, err, "in use by another process")
	// The data dir is free again, and so is everything else.
	a, err := Open(settings(), env(fs, log))
	require.NoError(t, err)
	_, err = Open(settings(), env(fs, log))
	require.ErrorIs(t, err, tsdb.ErrInUse)
	require.NoError(t, a.Close(), "closing what was opened and never started")
}

func TestEverythingIsAccountedFor(t *testing.T) {
	fs, log := vfs.NewMem(), new(lockedBuffer)
	a, err := Open(settings(), env(fs, log))
	require.NoError(t, err)
	a.Start()
	conn, err := net.Dial("udp", a.UDPAddr())
	require.NoError(t, err)
	for i := range 500 {
		_, err := fmt.Fprintf(conn, "good:1|c|#i:%d\nbad:x|c\nodd:1|q", i%10)
		require.NoError(t, err)
	}
	require.NoError(t, conn.Close())
	a.Inject([]byte("injected:5|c\nbad"))

	require.Eventually(t, func() bool { // what the journal has is taken back beside all else
		resp, err := http.Get("http://" + a.HTTPAddr() + "/-/ready")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode == 200
	}, 30*time.Second, time.Millisecond)
	http.DefaultClient.CloseIdleConnections()

	require.NoError(t, a.Close())
	l := a.Ledger()
	require.Zero(t, a.Balance().Imbalance)
	require.EqualValues(t, 1502, l.Received)
	require.EqualValues(t, 501, l.Accepted)
	require.EqualValues(t, 501, l.Stored)
	require.Zero(t, l.Open)
	require.Contains(t, log.String(), "reason=bad_value")
	require.Contains(t, log.String(), `last=odd:1|q`)
	require.Less(t, strings.Count(log.String(), "\n"), 10, "one line a reason, not one a line")

	s, err := tsdb.Open("data", tsdb.Options{FS: fs})
	require.NoError(t, err)
	require.EqualValues(t, 501, s.Totals().Events)
	require.NoError(t, s.Close())
}

// TestMetricsAreListed compares GET /metrics with docs/metrics.md.
func TestMetricsAreListed(t *testing.T) {
	c := settings()
	c.MaxSeriesPerMetric = 1
	a, err := Open(c, env(vfs.NewMem(), new(lockedBuffer)))
	require.NoError(t, err)
	a.Inject([]byte("fol\"de\\d:1|c|#k:1\nfol\"de\\d:1|c|#k:2\nother:1|c|#k:1"))
	text := string(a.selfmon().Append(nil))
	require.Contains(t, text, `cairn_metric_overflow{metric="fol\"de\\d",kind="counter"} 1`+"\n")
	require.NotContains(t, text, `metric="other"`)
	require.NoError(t, a.Close())
	listed := catalogue(t)
	for line := range strings.Lines(text) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "{")
		if !strings.HasPrefix(name, "cairn_") {
			continue
		}
		require.Contains(t, listed, name, "docs/metrics.md does not list it")
		listed[name] = true
	}
	for name, seen := range listed {
		require.True(t, seen, "docs/metrics.md lists %s, which is not there", name)
	}
}

// catalogue returns the names that docs/metrics.md lists in its table.
func catalogue(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	out := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(cairn_[a-z_]+)`").FindAllStringSubmatch(string(b), -1) {
		out[m[1]] = false
	}
	require.NotEmpty(t, out)
	return out
}

// TestQualityIsListed compares the fields of GET /api/quality, and the reasons in them,
// with docs/metrics.md.
func TestQualityIsListed(t *testing.T) {
	a, err := Open(settings(), env(vfs.NewMem(), new(lockedBuffer)))
	require.NoError(t, err)
	text, err := json.Marshal(a.quality(10))
	require.NoError(t, err)
	require.NoError(t, a.Close())
	doc, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	var fields map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(text, &fields))
	for name, raw := range fields {
		var parts map[string]json.RawMessage
		if json.Unmarshal(raw, &parts) != nil {
			parts = nil
		}
		require.True(t, regexp.MustCompile("`"+name+"[.`]").Match(doc), name)
		for part := range parts {
			require.True(t, regexp.MustCompile("`("+name+")?\\.?"+part+"`").Match(doc), "%s.%s", name, part)
		}
	}
	for r := ingest.ShedNone + 1; r < ingest.NumSheds; r++ {
		require.Contains(t, string(doc), "| `"+r.String()+"` | ")
	}
}
