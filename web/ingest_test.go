package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/ingest"
	"cairn/internal/metric"
)

func send(t *testing.T, c net.Conn, r *bufio.Reader, request string) (*http.Response, string) {
	t.Helper()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err := io.WriteString(c, request)
	require.NoError(t, err)
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	for resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(r, nil)
		require.NoError(t, err)
	}
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(b)
}

func TestIngestRoute(t *testing.T) {
	var got ingest.Request
	var body string
	refuse := false
	s := startWith(t, Options{Ingest: func(q *ingest.Request) (ingest.Answer, *ingest.Refusal) {
		got = *q
		if refuse {
			return ingest.Answer{}, &ingest.Refusal{Status: 503, Sentence: "busy", Wait: 7, Shed: ingest.ShedFull}
		}
		b, err := io.ReadAll(q.Body)
		if err != nil {
			return ingest.Answer{}, &ingest.Refusal{Status: 400, Sentence: err.Error()}
		}
		body = string(b)
		return ingest.Answer{Accepted: 2, RejectedTotal: 1, Rejected: []ingest.RejectedEvent{{Line: 3, Reason: metric.BadValue, Sample: `a\x00"`}}}, nil
	}})
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer c.Close()
	r := bufio.NewReader(c)
	big := strings.Repeat("a:1|c\n", 200_000)
	const head = "POST /api/ingest HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nCairn-Producer: p\r\nCairn-Sequence: 9\r\nCairn-Priority: low\r\nContent-Encoding: gzip\r\n"
	for _, request := range []string{
		fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(big), big),
		fmt.Sprintf("%sExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", head, len(big), big),
		fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(big), big),
	} {
		resp, answer := send(t, c, r, request)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, `{"accepted":2,"rejected":[{"line":3,"reason":"bad_value","sample":"a\\x00\""}],"duplicate":false}`+"\n", answer)
		require.True(t, body == big)
		require.Equal(t, []string{"p", "9", "low", "gzip", "text/plain"}, []string{got.Producer, got.Sequence, got.Priority, got.ContentEncoding, got.ContentType})
		require.Equal(t, "127.0.0.1", got.From.String())
	}
	// A refusal leaves the connection usable: clients send a body before they read.
	refuse = true
	small := strings.Repeat("a:1|c\n", 600_000)
	resp, answer := send(t, c, r, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(small), small))
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, "7", resp.Header.Get("Retry-After"))
	require.JSONEq(t, `{"error":"busy"}`, answer)
	resp, _ = send(t, c, r, "GET /api/ingest HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Equal(t, 405, resp.StatusCode)
	require.Equal(t, "POST", resp.Header.Get("Allow"))
	// One of a body that is far too large ends it before the body is sent.
	resp, _ = send(t, c, r, head+"Content-Length: 40000000\r\n\r\n"+strings.Repeat("x", 8192))
	require.Equal(t, 503, resp.StatusCode)
	require.True(t, resp.Close)
}

func TestIngestBodyThatBreaksOff(t *testing.T) {
	ended := make(chan error, 1)
	s := startWith(t, Options{Ingest: func(q *ingest.Request) (ingest.Answer, *ingest.Refusal) {
		_, err := io.ReadAll(q.Body)
		ended <- err
		return ingest.Answer{}, &ingest.Refusal{Status: 400, Sentence: "broken"}
	}})
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	_, err = io.WriteString(c, "POST /api/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", 20_000))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	select {
	case <-ended: // whatever is said, the length tells
	case <-time.After(5 * time.Second):
		t.Fatal("the handler waits for a client that is gone")
	}
}

func TestNoIngestRoute(t *testing.T) {
	s := start(t, noView)
	resp, _ := ask(t, s, http.MethodPost, "/api/ingest")
	require.Equal(t, 404, resp.StatusCode)
	resp, body := ask(t, s, http.MethodPost, "/api/explain")
	require.Equal(t, 400, resp.StatusCode, body)
	big, err := http.Post("http://"+s.Addr()+"/api/explain", "text/plain", strings.NewReader(strings.Repeat("a", bodyBytes+1)))
	require.NoError(t, err)
	require.NoError(t, big.Body.Close())
	require.Equal(t, 413, big.StatusCode)
	http.DefaultClient.CloseIdleConnections()
}
