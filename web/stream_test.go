package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/query"
)

// startStream starts a server whose streams have made-up answers.
func startStream(t *testing.T, c clock.Clock, answer func() (*query.Result, error)) *Server {
	t.Helper()
	return startAs(t, Options{Clock: c, Executor: &query.Executor{Acquire: noView}}, func(s *Server) {
		s.hub.evaluate = func(context.Context, string, parameters, int) (*query.Result, error) { return answer() }
	})
}

// open asks for a stream, and returns what comes.
func open(t *testing.T, s *Server, target, more string) (net.Conn, *http.Response, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: x\r\n"+more+"\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	return c, resp, bufio.NewReader(resp.Body)
}

// event reads the next event of a stream.
func event(t *testing.T, r *bufio.Reader) (name, data string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		switch {
		case line == "\n" && name != "":
			return name, data
		case strings.HasPrefix(line, "event: "):
			name = strings.TrimSpace(line[7:])
		case strings.HasPrefix(line, "data: "):
			data = strings.TrimSpace(line[6:])
		}
	}
}

// gone waits until a server has no viewers any more.
func gone(t *testing.T, s *Server) {
	t.Helper()
	require.Eventually(t, func() bool { viewers, topics := s.hub.counts(); return viewers+topics == 0 }, 10*time.Second, 5*time.Millisecond)
}

func TestStreamRoute(t *testing.T) {
	c := clock.NewManual(time.Unix(1_700_000_000, 0))
	s := startStream(t, c, func() (*query.Result, error) { return counting(c.Now().Unix()) })
	for _, more := range []string{"", "Connection: close\r\n"} {
		conn, resp, r := open(t, s, "/api/stream?metric=m&from=-1m", more)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
		require.Equal(t, csp, resp.Header.Get("Content-Security-Policy"))
		require.EqualValues(t, -1, resp.ContentLength)
		name, data := event(t, r)
		require.Equal(t, "full", name)
		have := decoded(t, []byte(data))
		for range 2 {
			c.Advance(time.Second)
			name, data = event(t, r)
			require.Equal(t, "delta", name)
			have = apply(t, have, decoded(t, []byte(data)))
			now, _ := counting(c.Now().Unix())
			require.Equal(t, decoded(t, appendResult(nil, now)), have)
		}
		require.NoError(t, conn.Close())
		c.Advance(time.Second) // the next message finds that nobody is there
		gone(t, s)
	}
	resp, body := ask(t, s, "GET", "/api/stream?metric=m&form=-1m")
	require.Equal(t, 400, resp.StatusCode)
	require.Contains(t, body, `"param":"form"`)
	resp, body = ask(t, s, "HEAD", "/api/stream?metric=m")
	require.Equal(t, 200, resp.StatusCode)
	require.Empty(t, body)
}

// TestStreamOfErrors: the evaluation is that of /api/query, and so are its sentences.
func TestStreamOfErrors(t *testing.T) {
	s := start(t, noView)
	_, _, r := open(t, s, "/api/stream?metric=m", "")
	name, data := event(t, r)
	require.Equal(t, "error", name)
	require.JSONEq(t, `{"error":"the query failed; the server's log says why, and counting goes on"}`, data)
	_, slowest := s.activity.Report()
	require.Equal(t, "stream, viewers: 1", slowest[0].Client)
	require.Equal(t, "metric=m", slowest[0].Text)
	require.Empty(t, s.gate.streams)
}

// TestStreamsTakeHalfOfTheGate: queries go on beside any number of them.
func TestStreamsTakeHalfOfTheGate(t *testing.T) {
	var running, most atomic.Int32
	entered, free := make(chan struct{}, 100), make(chan struct{})
	s := startAs(t, Options{MaxQueries: 4, Executor: &query.Executor{Acquire: func() (*query.View, error) {
		most.Store(max(most.Load(), running.Add(1)))
		entered <- struct{}{}
		<-free
		running.Add(-1)
		return nil, &query.LimitError{Sentence: "enough"}
	}}}, func(*Server) {})
	for i := range 6 {
		open(t, s, fmt.Sprintf("/api/stream?metric=m%d", i), "")
	}
	<-entered
	<-entered
	require.Len(t, s.gate.tokens, 2)
	require.Len(t, s.gate.streams, 2)
	resp, _ := ask(t, s, "GET", "/api/hot?limit=0") // it passes the gate
	require.Equal(t, 400, resp.StatusCode)
	close(free)
	for range 4 {
		<-entered
	}
	require.LessOrEqual(t, most.Load(), int32(2))
}

// TestCloseEndsStreams: those that read, and those that do not.
func TestCloseEndsStreams(t *testing.T) {
	c := clock.NewManual(time.Unix(1_700_000_000, 0))
	s := startStream(t, c, func() (*query.Result, error) { return counting(c.Now().Unix()) })
	var readers []*bufio.Reader
	for i := range 20 {
		_, _, r := open(t, s, fmt.Sprintf("/api/stream?metric=m%d", i%3), "")
		readers = append(readers, r)
	}
	require.NoError(t, s.Close(context.Background()))
	viewers, topics := s.hub.counts()
	require.Zero(t, viewers+topics)
	for _, r := range readers {
		_, err := io.ReadAll(r)
		require.NoError(t, err)
	}
}

func TestRefusedStream(t *testing.T) {
	s := startStream(t, nil, func() (*query.Result, error) { return counting(1000) })
	s.hub.mu.Lock()
	s.hub.viewers = maxViewers
	s.hub.mu.Unlock()
	_, resp, r := open(t, s, "/api/stream?metric=m", "")
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, "10", resp.Header.Get("Retry-After"))
	body, err := io.ReadAll(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"error":"1000 streams are open, and no more are served; close some, or ask /api/query now and then"}`, string(body))
}

// TestStreamToNobodyWhoReads: its writes come to an end with the queue.
func TestStreamToNobodyWhoReads(t *testing.T) {
	c := clock.NewSystem()
	s := startStream(t, c, nil)
	server, client := net.Pipe() // without a buffer
	defer client.Close()
	s.hub.evaluate = func(context.Context, string, parameters, int) (*query.Result, error) { return counting(c.Now().Unix()) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serveStream(server, []byte("head"), param("metric", "m"))
	}()
	require.Eventually(t, func() bool { viewers, _ := s.hub.counts(); return viewers == 1 }, 10*time.Second, time.Millisecond)
	s.hub.mu.Lock()
	for _, topic := range s.hub.topics {
		for range queued + 2 {
			s.hub.publish(topic, failed([]byte("{}")))
		}
	}
	s.hub.mu.Unlock()
	<-done
	gone(t, s)
}

// TestQuietStream: it beats, and ends with a client that does not take that any more.
func TestQuietStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := counting(1000)
		s := newStreamed(func(int64) (*query.Result, error) { return r, nil })
		server, client := net.Pipe()
		go (&Server{hub: s.hub}).serveStream(server, []byte("head\n"), param("metric", "m"))
		from := bufio.NewReader(client)
		head, err := from.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "head\n", head)
		name, _ := event(t, from)
		require.Equal(t, "full", name)
		begin := time.Now()
		for i := range 3 {
			line, err := from.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, ":\n", line)
			_, err = from.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, time.Duration(i+1)*heartbeat, time.Since(begin), "the bubble's clock")
		}
		time.Sleep(heartbeat + streamWrite + time.Second) // nobody reads
		synctest.Wait()
		viewers, topics := s.counts()
		require.Zero(t, viewers+topics)
		s.close(context.Background())
		require.NoError(t, errors.Join(server.Close(), client.Close()))
	})
}
