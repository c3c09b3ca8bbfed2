package web

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/ingest"
)

// TestBackupRoute: what a page of elsewhere can send does nothing, and nothing that is not
// one absolute path gets further.
func TestBackupRoute(t *testing.T) {
	var asked []string
	var refusal *ingest.Refusal
	s := startWith(t, Options{Backup: func(_ context.Context, dir string) (any, *ingest.Refusal) {
		asked = append(asked, dir)
		return map[string]string{"dir": dir}, refusal
	}})
	post := func(head, body string) (int, string) {
		c, err := net.Dial("tcp", s.Addr())
		require.NoError(t, err)
		defer c.Close()
		resp, answer := send(t, c, bufio.NewReader(c), fmt.Sprintf("POST /api/backup HTTP/1.1\r\nHost: 127.0.0.1:8127\r\n%sContent-Length: %d\r\n\r\n%s", head, len(body), body))
		return resp.StatusCode, answer
	}
	const json, good = "Content-Type: application/json\r\n", `{"dir":"/b/../c"}`
	for _, c := range []struct {
		head, body string
		want       int
	}{
		{"", good, 415}, {"Content-Type: text/plain\r\n", good, 415}, {"Content-Type: application/x-www-form-urlencoded\r\n", good, 415},
		{json + "Origin: http://elsewhere.example\r\n", good, 403}, {json + "Origin: null\r\n", good, 403}, {json + "Origin: http://127.0.0.1:9999\r\n", good, 403},
		{json, "", 400}, {json, "{", 400}, {json, "{}", 400}, {json, `{"dir":null}`, 400}, {json, `{"dir":1}`, 400}, {json, `{"dir":""}`, 400},
		{json, `{"dir":"b"}`, 400}, {json, `{"dir":"/b","x":1}`, 400}, {json, good + good, 400}, {json, `["/b"]`, 400}, {json, `{"dir":"` + strings.Repeat("/x", bodyBytes) + `"}`, 413},
		{json, strings.Repeat("[", 60_000), 400},
	} {
		code, answer := post(c.head, c.body)
		require.Equal(t, c.want, code, "%s %.60s: %s", c.head, c.body, answer)
		require.Contains(t, answer, `"error":"`)
	}
	require.Empty(t, asked)
	for _, head := range []string{json, "Content-Type: application/json; charset=utf-8\r\n", json + "Origin: http://127.0.0.1:8127\r\n"} {
		code, answer := post(head, good)
		require.Equal(t, 200, code, answer)
		require.JSONEq(t, `{"dir":"/c"}`, answer)
	}
	refusal = &ingest.Refusal{Status: 409, Sentence: "one at a time"}
	code, answer := post(json, good)
	require.Equal(t, 409, code)
	require.JSONEq(t, `{"error":"one at a time"}`, answer)
	require.False(t, sameOrigin("http://rebound.example:8127", "rebound.example:8127"), "whoever made the name lead here serves the page")
	require.True(t, sameOrigin("http://[::1]:8127", "[::1]:8127"))
	require.True(t, sameOrigin("http://localhost:8127", "localhost:8127"))
}
