package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"cairn/internal/clock"
	"cairn/query"
)

// startSlow starts a server with a route /api/slow, whose handler runs f as a query.
func startSlow(t *testing.T, o Options, f func(context.Context) error) *Server {
	t.Helper()
	return startAs(t, o, func(s *Server) {
		s.routes["/api/slow"] = route{fasthttp.MethodGet, func(ctx *fasthttp.RequestCtx) {
			if err := s.turn(ctx, textOf(ctx.QueryArgs()), f); err != nil {
				s.failQuery(ctx, err)
			}
		}}
	})
}

func limited(d time.Duration) *query.Executor {
	return &query.Executor{Acquire: noView, Limits: query.Limits{Time: d}}
}

// TestClientThatHangsUp: its query is canceled, whatever it has sent behind it.
func TestClientThatHangsUp(t *testing.T) {
	if !looksForHangups {
		t.Skip("this platform does not look")
	}
	for name, hangUp := range map[string]func(*net.TCPConn) error{
		"closed":         (*net.TCPConn).Close,
		"reset":          func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
		"closed by half": (*net.TCPConn).CloseWrite,
	} {
		for _, behind := range []string{"", "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"} {
			running, ended := make(chan struct{}), make(chan error)
			s := startSlow(t, Options{Executor: limited(time.Hour)}, func(ctx context.Context) error {
				close(running)
				<-ctx.Done()
				ended <- ctx.Err()
				return ctx.Err()
			})
			c, err := net.Dial("tcp", s.Addr())
			require.NoError(t, err)
			_, err = io.WriteString(c, "GET /api/slow HTTP/1.1\r\nHost: x\r\n\r\n"+behind)
			require.NoError(t, err)
			<-running
			require.NoError(t, hangUp(c.(*net.TCPConn)), name)
			require.ErrorIs(t, <-ended, context.Canceled, name)
			_ = c.Close() // it may be closed
		}
	}
}

// TestPipelinedRequestsStay: the watch reads nothing, and takes nobody for gone who is there.
func TestPipelinedRequestsStay(t *testing.T) {
	looked := make(chan struct{})
	s := startSlow(t, Options{}, func(ctx context.Context) error {
		select {
		case <-looked:
			return &query.LimitError{Sentence: "enough"}
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET /api/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	_, err = io.WriteString(c, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	timer := time.AfterFunc(3*(firstLook+nextLook), func() { close(looked) })
	defer timer.Stop()
	r := bufio.NewReader(c)
	resp, body := send(t, c, r, "")
	require.Equal(t, 422, resp.StatusCode, body)
	require.JSONEq(t, `{"error":"enough"}`, body)
	resp, body = send(t, c, r, "")
	require.Equal(t, 200, resp.StatusCode)
	require.Contains(t, body, "running")
}

// TestNobodyWaitsForever: at the gate, the time runs as well.
func TestNobodyWaitsForever(t *testing.T) {
	running, free := make(chan struct{}), make(chan struct{})
	s := startSlow(t, Options{MaxQueries: 1, Executor: limited(30 * time.Millisecond)}, func(context.Context) error {
		close(running)
		<-free
		return nil
	})
	first := make(chan int)
	go func() {
		resp, err := http.Get("http://" + s.Addr() + "/api/slow")
		if err != nil {
			t.Error(err)
			close(first)
			return
		}
		_ = resp.Body.Close()
		first <- resp.StatusCode
	}()
	<-running
	for _, path := range []string{"/api/query?metric=m", "/api/hot"} {
		resp, body := ask(t, s, "GET", path)
		require.Equal(t, 422, resp.StatusCode)
		require.Contains(t, body, "1 queries run already, and this one has waited 30ms for its turn; ask again, or raise --max-queries")
	}
	close(free)
	require.Equal(t, 200, <-first)
	http.DefaultClient.CloseIdleConnections()
	require.EqualValues(t, 2, s.activity.Counts().Refused)
}

func TestTimeIsOver(t *testing.T) {
	s := startSlow(t, Options{Executor: limited(20 * time.Millisecond)}, func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("scan: %w", ctx.Err())
	})
	resp, body := ask(t, s, "GET", "/api/slow")
	require.Equal(t, 422, resp.StatusCode)
	require.Contains(t, body, "longer than 20ms and was stopped")
	require.Contains(t, body, "--max-query-time")
	require.Empty(t, s.gate.tokens)
}

// TestCloseCancelsQueries: what does not end within the grace of a close is canceled.
func TestCloseCancelsQueries(t *testing.T) {
	running, ended := make(chan struct{}), make(chan error, 1)
	s := startSlow(t, Options{}, func(ctx context.Context) error {
		close(running)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	})
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET /api/slow HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	<-running
	over, cancel := context.WithDeadline(context.Background(), longAgo)
	defer cancel()
	require.NoError(t, s.Close(over))
	require.ErrorIs(t, <-ended, context.Canceled)
}

// TestQueriesRoute: what runs, by whom, and what was slow.
func TestQueriesRoute(t *testing.T) {
	c := clock.NewManual(time.Unix(1_700_000_000, 0))
	running, free := make(chan struct{}), make(chan struct{})
	s := startSlow(t, Options{Clock: c}, func(context.Context) error {
		close(running)
		<-free
		return errors.New("/root/secret")
	})
	_, body := ask(t, s, "GET", "/api/queries")
	require.JSONEq(t, `{"active":[],"slowest":[]}`, body)
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := http.Get("http://" + s.Addr() + "/api/slow?metric=a%20b&filter=k:%C3%A4")
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
	}()
	<-running
	c.Advance(1500 * time.Millisecond)
	var got struct{ Active, Slowest []map[string]any }
	_, body = ask(t, s, "GET", "/api/queries")
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Len(t, got.Active, 1)
	row := got.Active[0]
	require.Regexp(t, `^127\.0\.0\.1:\d+$`, row["client"])
	delete(row, "client")
	require.Equal(t, map[string]any{"id": 1.0, "query": "metric=a+b&filter=k%3A%C3%A4", "started": 1.7e9, "seconds": 1.5, "waiting": false}, row)
	close(free)
	<-done
	http.DefaultClient.CloseIdleConnections()
	_, body = ask(t, s, "GET", "/api/queries")
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Empty(t, got.Active)
	require.Len(t, got.Slowest, 1)
	require.Equal(t, "failed; the server's log says why", got.Slowest[0]["error"])
	require.NotContains(t, body, "secret")
}
