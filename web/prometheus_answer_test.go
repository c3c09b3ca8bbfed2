package web

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/query"
)

const largeQuery = "/api/v1/query_range?query=api_requests&start=1699990000&end=1699999999&step=1"

// TestSlowReadersAreBounded: what clients do not read counts until it is sent, or they are gone.
func TestSlowReadersAreBounded(t *testing.T) {
	s := startPrometheus(t, query.Limits{}, nil)
	resp, whole := ask(t, s, "GET", largeQuery)
	require.Equal(t, 200, resp.StatusCode)
	require.Greater(t, len(whole), 3*largeAnswer)
	require.EqualValues(t, len(whole), resp.ContentLength)
	sent := func() bool { return s.gate.unread.bytes.Load() == 0 }
	require.Eventually(t, sent, 10*time.Second, time.Millisecond)
	resp, _ = ask(t, s, "HEAD", largeQuery)
	require.EqualValues(t, len(whole), resp.ContentLength)
	require.Eventually(t, sent, 10*time.Second, time.Millisecond)

	s.gate.unread.most = 2 * int64(len(whole)) // room for one and its spare bytes
	body, err := s.gate.unread.take(make([]byte, len(whole)+len(whole)/2))
	require.NoError(t, err)
	resp, text := ask(t, s, "GET", largeQuery)
	require.Equal(t, 503, resp.StatusCode)
	require.Contains(t, text, `"errorType":"unavailable","error":"clients have not read`)
	require.EqualValues(t, 1, s.activity.Counts().Refused)
	resp, _ = ask(t, s, "GET", "/api/v1/query?query=api_requests") // a small one fits always
	require.Equal(t, 200, resp.StatusCode)
	require.NoError(t, body.Close())
	require.NoError(t, body.Close())
	require.True(t, sent())

	s.gate.unread.most = unreadBytes
	var conns []*net.TCPConn
	for range 2 {
		c, err := net.Dial("tcp", s.Addr())
		require.NoError(t, err)
		conn := c.(*net.TCPConn)
		require.NoError(t, conn.SetReadBuffer(1<<10))
		for range 60 { // more than the sockets hold
			_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", largeQuery)
			require.NoError(t, err)
		}
		_, err = io.ReadFull(conn, make([]byte, 1))
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	require.Eventually(t, func() bool { return s.gate.unread.bytes.Load() > 0 }, 10*time.Second, time.Millisecond)
	for _, c := range conns {
		require.NoError(t, c.SetLinger(0))
		require.NoError(t, c.Close())
	}
	require.Eventually(t, sent, 10*time.Second, time.Millisecond)
}

// TestParsingHasItsTurn: what only parses waits behind queries.
func TestParsingHasItsTurn(t *testing.T) {
	s := startPrometheus(t, query.Limits{Time: 50 * time.Millisecond}, nil)
	for range cap(s.gate.tokens) {
		s.gate.tokens <- struct{}{}
	}
	for _, path := range []string{"format_query", "parse_query", "query_exemplars", "query"} {
		resp, text := ask(t, s, "GET", "/api/v1/"+path+"?query=1")
		require.Equal(t, 422, resp.StatusCode, path)
		require.Contains(t, text, "for its turn", path)
	}
	for range cap(s.gate.tokens) {
		<-s.gate.tokens
	}
}
