package web

import (
	"bufio"
	"context"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/ingest"
)

func TestVerifyRoute(t *testing.T) {
	var refusal *ingest.Refusal
	s := startWith(t, Options{Verify: func(ctx context.Context) (any, *ingest.Refusal) {
		if err := ctx.Err(); err != nil {
			return nil, &ingest.Refusal{Status: 500, Sentence: err.Error()}
		}
		return map[string]bool{"equal": true}, refusal
	}})
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer c.Close()
	r := bufio.NewReader(c)
	const get = "GET /api/verify HTTP/1.1\r\nHost: x\r\n\r\n"
	resp, body := send(t, c, r, get)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "{\"equal\":true}\n", body)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	refusal = &ingest.Refusal{Status: 429, Sentence: "one at a time", Wait: 30}
	resp, body = send(t, c, r, get)
	require.Equal(t, 429, resp.StatusCode)
	require.Equal(t, "30", resp.Header.Get("Retry-After"))
	require.JSONEq(t, `{"error":"one at a time"}`, body)
}
