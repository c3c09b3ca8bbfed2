package client

import (
	"net/http"
	"strconv"
	"strings"
)

// CountRequests returns a handler that counts the requests to next as the metric
// http.requests, by route, method and status. The route is the pattern of http.ServeMux
// that matched, without its method, and "other" without one: paths would be a series
// each. A handler that panics, or whose connection was taken over before it answered,
// counts under what it had written, or as 500 or 101.
func (c *Client) CountRequests(next http.Handler) http.Handler {
	if c == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &statusWriter{ResponseWriter: w}
		ended := false
		defer func() {
			if s.status == 0 && ended {
				s.status = http.StatusOK
			} else if s.status == 0 {
				s.status = http.StatusInternalServerError
			}
			c.Count("http.requests", 1, Tag("route", route(r)), Tag("method", method(r.Method)), Tag("status", status(s.status)))
		}()
		next.ServeHTTP(s, r)
		ended = true
	})
}

func route(r *http.Request) string {
	if r.Pattern == "" {
		return "other"
	}
	if _, path, ok := strings.Cut(r.Pattern, " "); ok {
		return strings.TrimLeft(path, " \t")
	}
	return r.Pattern
}

// method returns a method that is known, so that clients cannot make series up.
func method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE":
		return m
	}
	return "other"
}

func status(code int) string {
	if code < 100 || code > 599 {
		return "other"
	}
	return strconv.Itoa(code)
}

// statusWriter notes the status. http.ResponseController reaches what is below.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// Unwrap is for http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// WriteHeader notes the status; those below 200 come before it, but for 101.
func (s *statusWriter) WriteHeader(code int) {
	if s.status == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) {
		s.status = code
	}
	s.ResponseWriter.WriteHeader(code)
}

// Write writes, which is a 200 if nothing was said before.
func (s *statusWriter) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Flush flushes, if what is below can.
func (s *statusWriter) Flush() {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	_ = http.NewResponseController(s.ResponseWriter).Flush() // who cannot, need not
}
