//go:build linux

package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxAnswer bounds an answer that is read, in bytes.
const maxAnswer = 64 << 20

// client talks to a child that serves HTTP.
type client struct {
	http    *http.Client
	address string // host:port
}

// newClient returns one whose requests end after limit. It asks for no compression: on
// loopback that would be measured and help nobody.
func newClient(port int, limit time.Duration) client {
	return client{&http.Client{Timeout: limit, Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}, fmt.Sprintf("127.0.0.1:%d", port)}
}

// URL returns that of a path.
func (c *client) URL(path string) string { return "http://" + c.address + path }

// Get returns the body of an answer that is no error.
func (c *client) Get(ctx context.Context, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, path, nil)
}

// Post sends body and returns that of an answer that is no error.
func (c *client) Post(ctx context.Context, path string, body io.Reader) ([]byte, error) {
	return c.do(ctx, http.MethodPost, path, body)
}

func (c *client) do(ctx context.Context, method, path string, body io.Reader) (text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL(path), body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	text, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err == nil && res.StatusCode >= 300 {
		err = &StatusError{res.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, path, res.Status, text)}
	}
	return text, err
}

// StatusError is an answer that is an error.
type StatusError struct {
	Code int
	text string
}

// Error implements error.
func (e *StatusError) Error() string { return e.text }
