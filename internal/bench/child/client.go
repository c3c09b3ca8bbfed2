//go:build linux

package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
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

func (c *client) do(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	var text bytes.Buffer
	err := c.copy(ctx, &text, method, path, body)
	return text.Bytes(), err
}

// Fetch reads the body of an answer that is no error to its end, and keeps nothing of it:
// what takes time is the server, and not memory for the answer.
func (c *client) Fetch(ctx context.Context, path string) error {
	return c.copy(ctx, io.Discard, http.MethodGet, path, nil)
}

func (c *client) copy(ctx context.Context, to io.Writer, method, path string, body io.Reader) (err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL(path), body)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode >= 300 {
		text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		return errors.Join(&StatusError{res.StatusCode, method + " " + path, string(text)}, err)
	}
	if _, err = io.Copy(to, io.LimitReader(res.Body, maxAnswer)); err != nil {
		err = fmt.Errorf("%s %s: %w", method, path, err)
	}
	return err
}

// StatusError is an answer that is an error.
type StatusError struct {
	Code    int
	Request string
	Body    string
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", e.Request, e.Code, http.StatusText(e.Code), strings.TrimSpace(e.Body))
}
