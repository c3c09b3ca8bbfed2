package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// maxAnswer bounds what a command reads of an answer: the longest is that of a query, of
// 1,000 series with 11,000 points each.
const maxAnswer = 256 << 20

// readStopped is the hint of commands that can do without a server.
const readStopped = " Where it is stopped, name its --data-dir"

// question is a request to a running server.
type question struct {
	command string // that asks, for errors
	server  string // URL
	method  string // GET if it is empty
	path    string
	params  url.Values
	body    []byte // JSON, or nil
	hint    string // what else to do where no server is reached, or ""
	// client is nil where one question is asked, whose connection is closed then.
	client *http.Client
}

// ask sends a question, and returns the body of its answer. It waits as long as the server
// takes. Where the answer is a refusal, the error is its sentence; it is context.Canceled
// or context.DeadlineExceeded where ctx was or passed.
func ask(ctx context.Context, q question) ([]byte, error) {
	base, err := url.Parse(q.server)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usageError{fmt.Errorf("%s: %q is not a URL such as http://127.0.0.1:8127", q.command, q.server)}
	}
	u := base.JoinPath(q.path)
	u.RawQuery = q.params.Encode()
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := q.client
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	resp, err := client.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("cannot reach %s: %w; is 'cairn serve' running there?%s", q.server, err, q.hint)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", q.server, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the answer of %s is longer than %s", q.server, byteSize(maxAnswer))
	case resp.StatusCode != http.StatusOK:
		var e struct{ Error string }
		if json.Unmarshal(answer, &e) != nil || e.Error == "" {
			return nil, fmt.Errorf("%s answered %s", q.server, resp.Status)
		}
		return nil, errors.New(sentence(e.Error))
	}
	return answer, nil
}
