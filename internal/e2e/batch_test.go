package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

// verdict is the answer to a batch.
type verdict struct {
	Accepted int `json:"accepted"`
	Rejected []struct {
		Line   int    `json:"line"`
		Reason string `json:"reason"`
		Sample string `json:"sample"`
	} `json:"rejected"`
	Duplicate bool   `json:"duplicate"`
	Error     string `json:"error"`
}

// Post sends a batch; headers are names and values in turn.
func (s *server) Post(body []byte, headers ...string) (int, verdict) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.HTTP+"/api/ingest", bytes.NewReader(body))
	require.NoError(s.t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	var v verdict
	require.NoError(s.t, json.Unmarshal(b, &v), "%s", b)
	if code := resp.StatusCode; code == http.StatusServiceUnavailable || code == http.StatusTooManyRequests {
		require.NotEmpty(s.t, resp.Header.Get("Retry-After"))
	}
	return resp.StatusCode, v
}

const aProducer = "5f0c4d2e-8f5b-4b6e-9d55-3f0a2c9be101"

// TestBatchesByHand sends what the README says, and some that it says is wrong.
func TestBatchesByHand(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	text := []byte("signups:1|c\nsignups:2|c|#env:prod\nbad\nqueue:7|g\nlatency:3:4|ms\nusers:ann|s\n")
	named := []string{"Content-Type", "text/plain", "Cairn-Producer", aProducer, "Cairn-Sequence", "1"}
	for round := range 3 {
		code, v := s.Post(text, named...)
		require.Equal(t, 200, code, v.Error)
		require.Equal(t, 6, v.Accepted)
		require.Len(t, v.Rejected, 1)
		require.Equal(t, 3, v.Rejected[0].Line)
		require.Equal(t, "no_value", v.Rejected[0].Reason)
		require.Equal(t, "bad", v.Rejected[0].Sample)
		require.Equal(t, round > 0, v.Duplicate)
	}
	code, v := s.Post([]byte("signups:100|c"), named...)
	require.Equal(t, 409, code)
	require.Contains(t, v.Error, "sequence 1")

	at := time.Now().Unix() - 5
	events := fmt.Sprintf(`{"events":[{"metric":"signups","kind":"counter","value":10,"tags":{"env":"prod"},"time":%d},
		{"metric":"signups","value":1},{"metric":"signups","value":"x"},{"metric":"signups","worth":1},
		{"metric":"users","kind":"set","value":"bob"}]}`, at)
	code, v = s.Post([]byte(events), "Content-Type", "application/json")
	require.Equal(t, 200, code, v.Error)
	require.Equal(t, 3, v.Accepted)
	require.Equal(t, []string{"bad_value", "bad_field"}, []string{v.Rejected[0].Reason, v.Rejected[1].Reason})
	code, v = s.Post([]byte("{\"metric\":\"signups\",\"value\":20}\n{nonsense\n"), "Content-Type", "application/x-ndjson")
	require.Equal(t, 200, code, v.Error)
	require.Equal(t, 1, v.Accepted)
	require.Equal(t, "bad_json", v.Rejected[0].Reason)

	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write([]byte("signups:40|c"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	code, _ = s.Post(zipped.Bytes(), "Content-Type", "text/plain", "Content-Encoding", "gzip")
	require.Equal(t, 200, code)
	code, _ = s.Post(snappy.Encode(nil, []byte("signups:80|c")), "Content-Type", "text/plain", "Content-Encoding", "snappy")
	require.Equal(t, 200, code)

	for _, c := range []struct {
		code    int
		body    string
		says    string
		headers []string
	}{
		{400, "a:1|c", "gzip", []string{"Content-Type", "text/plain", "Content-Encoding", "gzip"}},
		{400, `{"events":[`, "JSON", []string{"Content-Type", "application/json"}},
		{400, "a:1|c", "Cairn-Producer", []string{"Content-Type", "text/plain", "Cairn-Sequence", "1"}},
		{400, "a:1|c", "UUID", []string{"Content-Type", "text/plain", "Cairn-Sequence", "1", "Cairn-Producer", "me"}},
		{400, "a:1|c", "1 to", []string{"Content-Type", "text/plain", "Cairn-Sequence", "0", "Cairn-Producer", aProducer}},
		{413, strings.Repeat("a:1|c\n", 800_000), "4194304", []string{"Content-Type", "text/plain"}},
		{413, string(snappy.Encode(nil, make([]byte, 33<<20))), "33554432", []string{"Content-Type", "text/plain", "Content-Encoding", "snappy"}},
		{415, "a:1|c", "br", []string{"Content-Type", "text/plain", "Content-Encoding", "br"}},
		{415, "a:1|c", "image/png", []string{"Content-Type", "image/png"}},
	} {
		code, v := s.Post([]byte(c.body), c.headers...)
		require.Equal(t, c.code, code, "%s: %s", c.says, v.Error)
		require.Contains(t, v.Error, c.says)
	}
	s.RequireTotal(1+2+10+1+20+40+80, "signups")
	s.RequireTotal(2, "users")
	require.Equal(t, map[string]float64{"prod": 12, "<nil>": 142}, s.By("signups", "1m", "env"))
	s.MustStop()

	again := startServer(t, "--data-dir", s.Dir)
	code, v = again.Post(text, named...)
	require.Equal(t, 200, code)
	require.True(t, v.Duplicate, "a restart has forgotten a sequence")
	again.RequireTotal(1+2+10+1+20+40+80, "signups")
}
