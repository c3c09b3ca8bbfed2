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

// maxAnswer bounds what a command reads of an answer: the longest is a report that lists
// what differs, of some megabytes.
const maxAnswer = 64 << 20

// ask sends a running server a request, and returns the body of its answer. It waits as
// long as the server takes. Where the answer is a refusal, the error is its sentence; it is
// context.Canceled where ctx was. A body that is not nil is JSON.
func ask(ctx context.Context, command, server, method, path string, body []byte) ([]byte, error) {
	base, err := url.Parse(server)
	if err != nil || base.Host == "" {
		return nil, usageError{fmt.Errorf("%s: %q is not a URL such as http://127.0.0.1:8127", command, server)}
	}
	req, err := http.NewRequestWithContext(ctx, method, base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		if errors.Is(err, context.Canceled) {
			return nil, context.Canceled
		}
		return nil, fmt.Errorf("cannot reach %s: %w; is 'cairn serve' running there? Where it is stopped, name its --data-dir", server, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", server, err)
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if json.Unmarshal(answer, &e) != nil || e.Error == "" {
			return nil, fmt.Errorf("%s answered %s", server, resp.Status)
		}
		return nil, errors.New(e.Error)
	}
	return answer, nil
}
