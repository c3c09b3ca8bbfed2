package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/golang/snappy"
)

// requestTime is how long a request may take: longer than a server waits for a slow disk.
const requestTime = 15 * time.Second

// httpTransport sends batches that count exactly once.
type httpTransport struct {
	url    string
	client *http.Client
	conns  *http.Transport
}

func newHTTP(u *url.URL) *httpTransport {
	conns := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	return &httpTransport{
		url: u.JoinPath("api", "ingest").String(), conns: conns,
		client: &http.Client{
			Transport: conns, Timeout: requestTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (h *httpTransport) encode(lines []byte) []byte { return snappy.Encode(nil, lines) }
func (h *httpTransport) most() int                  { return maxLine }
func (h *httpTransport) exact() bool                { return true }

func (h *httpTransport) close() error {
	h.conns.CloseIdleConnections()
	return nil
}

func (h *httpTransport) send(ctx context.Context, producer string, b *batch) outcome {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(b.payload))
	if err != nil {
		return outcome{err: err, why: droppedServer}
	}
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("Cairn-Producer", producer)
	r.Header.Set("Cairn-Sequence", strconv.FormatUint(b.sequence, 10))
	if b.low {
		r.Header.Set("Cairn-Priority", "low")
	}
	resp, err := h.client.Do(r)
	if err != nil {
		return outcome{err: err, again: true}
	}
	defer resp.Body.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return outcome{err: err, again: true}
	}
	return answer(resp, text)
}

// answer reads what the server says.
func answer(resp *http.Response, text []byte) (o outcome) {
	var body struct {
		Error    string `json:"error"`
		Rejected []struct {
			Reason string `json:"reason"`
		} `json:"rejected"`
		Total     int   `json:"rejected_total"`
		Accepted  *int  `json:"accepted"`
		Duplicate *bool `json:"duplicate"`
	}
	unread := json.Unmarshal(text, &body)
	if resp.StatusCode == http.StatusOK {
		if unread != nil || body.Accepted == nil || body.Duplicate == nil {
			return outcome{err: fmt.Errorf("the answer is none of Cairn's: %.100q", text), again: true}
		}
		if o.rejected = max(body.Total, len(body.Rejected)); len(body.Rejected) > 0 {
			o.reason = body.Rejected[0].Reason
		}
		return o
	}
	o.err = fmt.Errorf("the server answered %s: %.200s", resp.Status, body.Error)
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusConflict:
		o.why = droppedServer
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		o.again, o.refused = true, true
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
			o.after = min(time.Duration(s)*time.Second, time.Minute)
		}
	default: // a proxy in between, or one that restarts
		o.again = true
	}
	return o
}
