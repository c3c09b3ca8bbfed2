package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/app"
	"cairn/internal/clock"
	"cairn/internal/config"
	"cairn/internal/metric"
)

// server is a real one, which can be started again on the same address and data.
type server struct {
	t    *testing.T
	c    config.Config
	fs   vfs.FS
	app  *app.App
	addr string
}

func newServer(t *testing.T) *server {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	s := &server{t: t, fs: vfs.NewMem(), addr: free.Addr().String()}
	s.c = config.Config{
		UDP: []config.Listen{{Dialect: "dogstatsd", Address: "127.0.0.1:0"}}, UDS: []config.Listen{{Dialect: "dogstatsd", Address: filepath.Join(t.TempDir(), "cairn.sock")}},
		UDSMode: 0o600, HTTP: s.addr, DataDir: "data", Grace: time.Second, FlushInterval: time.Second, Readers: 1,
		UDPBuffer: 1 << 20, Line: metric.DefaultLineLimits, MaxMetrics: 1000, MaxSeries: 1000, MaxSeriesPerMetric: 1000, Cache: 1 << 20,
	}
	s.c.Query.AtOnce, s.c.Query.Time = 2, 10*time.Second
	return s
}

func (s *server) start() {
	s.t.Helper()
	var err error
	s.app, err = app.Open(s.c, app.Env{Clock: clock.NewSystem(), FS: s.fs, Log: slog.New(slog.DiscardHandler), Seed: 1})
	require.NoError(s.t, err)
	s.app.Start()
}

func (s *server) stop() {
	s.t.Helper()
	require.NoError(s.t, s.app.Close())
}

// total is what the server counted of a metric.
func (s *server) total(metric, fn string) float64 {
	s.t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get("http://" + s.addr + "/api/query?from=-10m&to=" + fmt.Sprint(time.Now().Unix()+60) + "&step=1m&metric=" + metric + "&fn=" + fn)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	var a struct {
		Total float64 `json:"total"`
		Error string  `json:"error"`
	}
	require.NoError(s.t, json.Unmarshal(text, &a), "%s", text)
	require.Empty(s.t, a.Error)
	return a.Total
}

// soon is a context that ends if something never does.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// crash ends a client as a kill would: nothing is taken, sent or noted any more.
func (c *Client) crash() {
	c.closed.Store(true)
	c.cancel()
	c.done.Wait()
	_ = c.queue.close()
	_ = c.to.close()
}

func TestDatagramsArrive(t *testing.T) {
	s := newServer(t)
	s.start()
	for i, address := range []string{"udp://" + s.app.UDPAddr(), "unixgram://" + s.c.UDS[0].Address} {
		c, err := New(address)
		require.NoError(t, err)
		for k := range 500 {
			c.Count(fmt.Sprint("n", i), 2, Tag("k", fmt.Sprint(k)), Tag("long", strings.Repeat("x", 100)))
		}
		c.Distribution(fmt.Sprint("d", i)).Observe(1.5)
		c.Set(fmt.Sprint("s", i)).Add("a b:c")
		require.NoError(t, c.Close(soon(t)))
		require.EqualValues(t, 502, c.Stats().Sent)
		require.Eventually(t, func() bool { return s.total(fmt.Sprint("n", i), "count") == 1000 }, 10*time.Second, 10*time.Millisecond)
		require.EqualValues(t, 1.5, s.total(fmt.Sprint("d", i), "sum"))
		require.EqualValues(t, 1, s.total(fmt.Sprint("s", i), "uniques"))
	}
	require.Zero(t, s.app.Ledger().Rejected)
	s.stop()
}

// TestAUnixSocketIsWaitedFor: what nobody took is still there when somebody comes.
func TestAUnixSocketIsWaitedFor(t *testing.T) {
	s := newServer(t)
	c, err := New("unixgram://" + s.c.UDS[0].Address)
	require.NoError(t, err)
	c.Count("n", 5)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	require.ErrorIs(t, c.Flush(ctx), context.DeadlineExceeded)
	cancel()
	s.start()
	require.NoError(t, c.Close(soon(t)))
	require.Eventually(t, func() bool { return s.total("n", "count") == 5 }, 10*time.Second, 10*time.Millisecond)
	s.stop()
}

// TestLostDatagramsAreCounted: UDP to a port that is closed tells of some losses, and all
// lines are either sent or dropped.
func TestLostDatagramsAreCounted(t *testing.T) {
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	c, err := New("udp://" + free.LocalAddr().String())
	require.NoError(t, err)
	for range 20 {
		c.Count("n", 1)
		require.NoError(t, c.Flush(soon(t)))
	}
	require.NoError(t, c.Close(soon(t)))
	st := c.Stats()
	require.Positive(t, st.DroppedSend)
	require.GreaterOrEqual(t, st.Sent+st.Dropped, uint64(20))
	require.Zero(t, st.Queued)
}

func TestEverythingIsCountedOnceAcrossRestartsOfTheServer(t *testing.T) {
	s := newServer(t)
	s.start()
	c, err := New("http://" + s.addr)
	require.NoError(t, err)
	var stop atomic.Bool
	var want atomic.Int64
	var callers sync.WaitGroup
	for g := range 4 {
		callers.Go(func() {
			for !stop.Load() {
				c.Count("n", 1, Tag("g", fmt.Sprint(g)))
				want.Add(1)
			}
		})
	}
	for range 3 {
		require.NoError(t, c.Flush(soon(t)))
		s.stop()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		require.Error(t, c.Flush(ctx), "nobody is there")
		cancel()
		s.start()
	}
	stop.Store(true)
	callers.Wait()
	require.NoError(t, c.Close(soon(t)))
	require.EqualValues(t, want.Load(), s.total("n", "count"))
	require.Positive(t, s.total("cairn.client.retries", "count"))
	require.Zero(t, c.Stats().Dropped)
	require.Zero(t, c.Stats().Queued)
	s.stop()
}

// TestASpoolOutlivesTheProcess: what a killed process left is delivered by the next, also a
// batch of which the server's answer was lost, once and in order.
func TestASpoolOutlivesTheProcess(t *testing.T) {
	s := newServer(t)
	s.start()
	u, err := url.Parse("http://" + s.addr)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	conns := &http.Transport{}
	proxy.Transport = conns
	var taken atomic.Int64
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode == http.StatusOK {
			taken.Add(1)
		}
		return fmt.Errorf("the answer is lost")
	}
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	front := httptest.NewServer(proxy)
	dir := t.TempDir()
	c, err := New(front.URL, Spool(dir))
	require.NoError(t, err)
	_, err = New(front.URL, Spool(dir))
	require.ErrorContains(t, err, "in use")
	for i := range 5 {
		c.Counter("n").Add(10)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		require.Error(t, c.Flush(ctx), i)
		cancel()
	}
	require.Eventually(t, func() bool { return taken.Load() > 0 }, 10*time.Second, time.Millisecond)
	c.Counter("n").Add(1000) // is lost with the process
	producer, last := c.queue.producer, c.queue.last
	c.crash()
	front.Close()
	conns.CloseIdleConnections()
	require.EqualValues(t, 10, s.total("n", "count"))

	again, err := New("http://"+s.addr, Spool(dir))
	require.NoError(t, err)
	require.Equal(t, producer, again.queue.producer)
	again.Counter("n").Add(1)
	require.NoError(t, again.Close(soon(t)))
	require.EqualValues(t, 51, s.total("n", "count"))
	require.Zero(t, again.Stats().SpoolSize)
	third, err := New("http://"+s.addr, Spool(dir))
	require.NoError(t, err)
	require.Greater(t, third.queue.last, last, "an empty spool still knows which sequences were used")
	third.Counter("n").Add(1)
	require.NoError(t, third.Close(soon(t)))
	require.EqualValues(t, 52, s.total("n", "count"))
	s.stop()
}

func TestDamagedFilesOfTheSpoolAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	o := defaults()
	o.spool = dir
	down := &recorder{fail: func(*batch) outcome { return outcome{err: io.ErrUnexpectedEOF, again: true} }}
	c, err := start(down, o)
	require.NoError(t, err)
	for range 3 {
		c.Counter("n").Inc()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.Error(t, c.Flush(ctx))
	}
	c.crash()
	path := filepath.Join(dir, name(2))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text[len(text)-1]++
	require.NoError(t, os.WriteFile(path, text, 0o600))
	var told []string
	o.onError = func(err error) { told = append(told, err.Error()) }
	up := &recorder{}
	c, err = start(up, o)
	require.NoError(t, err)
	require.NoError(t, c.Close(soon(t)))
	require.Equal(t, 2, strings.Count("\n"+strings.Join(up.take(), "\n"), "\nn:1|c|T"))
	require.Len(t, told, 1)
	require.Contains(t, told[0], "damaged")
}

// TestLowPriorityIsShedFirst: the bound holds, low priority goes first, and every line is
// sent, or counted as dropped.
func TestLowPriorityIsShedFirst(t *testing.T) {
	c, r := recorded(t, BufferSize(64<<10), LowPriority("debug."))
	var up atomic.Bool
	r.mu.Lock()
	r.fail = func(*batch) outcome {
		if up.Load() {
			return outcome{}
		}
		return outcome{err: io.ErrUnexpectedEOF, again: true}
	}
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	pad := strings.Repeat("x", 200)
	for range 20 {
		for k := range 20 {
			c.Count("n", 1, Tag("k", fmt.Sprint(k)), Tag("pad", pad))
			c.Count("debug.n", 1, Tag("k", fmt.Sprint(k)), Tag("pad", pad))
		}
		require.Error(t, c.Flush(ctx))
		c.queue.mu.Lock()
		require.LessOrEqual(t, c.queue.memory, 64<<10)
		c.queue.mu.Unlock()
	}
	up.Store(true)
	require.NoError(t, c.Close(soon(t)))
	var normal, low uint64
	for _, l := range r.take() {
		if strings.HasPrefix(l, "n:") {
			normal++
		} else if strings.HasPrefix(l, "debug.n:") {
			low++
		}
	}
	st := c.Stats()
	require.GreaterOrEqual(t, normal+low+st.Dropped, uint64(800))
	require.LessOrEqual(t, normal+low+st.Dropped, uint64(820), "the client's own metrics may be among what is dropped")
	require.Equal(t, st.Dropped, st.DroppedBuffer)
	require.LessOrEqual(t, low, uint64(20), "but for one that was under way, none")
	require.Greater(t, normal, uint64(200))
}

func TestLowPriorityDoesNotHoldUpOthers(t *testing.T) {
	c, r := recorded(t, LowPriority("debug."))
	r.mu.Lock()
	r.fail = func(b *batch) outcome {
		if b.low {
			return outcome{err: io.ErrUnexpectedEOF, again: true, refused: true}
		}
		return outcome{}
	}
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.Counter("debug.n").Inc()
	require.Error(t, c.Flush(ctx))
	c.Counter("n").Inc()
	require.NoError(t, c.Close(soon(t)))
	require.Contains(t, strings.Join(r.take(), "\n"), "n:1|c|T")
	require.EqualValues(t, 1, c.Stats().DroppedPriority)
}

func TestAnswersOfServers(t *testing.T) {
	for _, test := range []struct {
		status  int
		text    string
		retry   string
		want    outcome
		isError bool
	}{
		{status: 200, text: `{"accepted":1,"rejected":[{"line":2,"reason":"too_old","sample":""}],"rejected_total":7,"duplicate":false}`, want: outcome{rejected: 7, reason: "too_old"}},
		{status: 200, text: `<html>`, want: outcome{again: true}, isError: true},
		{status: 409, text: `{"error":"used"}`, want: outcome{why: droppedServer}, isError: true},
		{status: 400, want: outcome{why: droppedServer}, isError: true},
		{status: 503, retry: "3", want: outcome{again: true, refused: true, after: 3 * time.Second}, isError: true},
		{status: 429, retry: "x", want: outcome{again: true, refused: true}, isError: true},
		{status: 503, retry: "999999999", want: outcome{again: true, refused: true, after: time.Minute}, isError: true},
		{status: 502, want: outcome{again: true}, isError: true},
		{status: 302, want: outcome{again: true}, isError: true},
	} {
		got := answer(&http.Response{StatusCode: test.status, Header: http.Header{"Retry-After": {test.retry}}}, []byte(test.text))
		require.Equal(t, test.isError, got.err != nil, test.status)
		got.err = nil
		require.Equal(t, test.want, got, test.status)
	}
	for n := 1; n < 100; n++ {
		d := backoff(n)
		require.GreaterOrEqual(t, d, firstWait/2)
		require.Less(t, d, lastWait)
	}
}
