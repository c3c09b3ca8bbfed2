package web

import (
	"bufio"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/ingest"
)

func TestStorageRoute(t *testing.T) {
	var refusal *ingest.Refusal
	s := startWith(t, Options{Storage: func(n int) (any, *ingest.Refusal) {
		return map[string]int{"metrics": n}, refusal
	}})
	c, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer c.Close()
	r := bufio.NewReader(c)
	get := func(query string, code int) string {
		resp, body := send(t, c, r, "GET /api/storage"+query+" HTTP/1.1\r\nHost: x\r\n\r\n")
		require.Equal(t, code, resp.StatusCode)
		return body
	}
	require.JSONEq(t, `{"metrics":20}`, get("", 200))
	require.JSONEq(t, `{"metrics":1000}`, get("?metrics=1000", 200))
	require.Contains(t, get("?metrics=0", 400), "from 1 to 1000")
	require.Contains(t, get("?metrics=1001", 400), "from 1 to 1000")
	refusal = &ingest.Refusal{Status: 500, Sentence: "it is broken"}
	require.JSONEq(t, `{"error":"it is broken"}`, get("", 500))
}
