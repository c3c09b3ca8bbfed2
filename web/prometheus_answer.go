package web

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"cairn/query"
)

const (
	// largeAnswer is how many bytes make an answer count: fewer are no more than what a connection
	// costs anyway.
	largeAnswer = 64 << 10
	// unreadBytes bounds the large answers that clients have not read yet. Each query may hold one more
	// while it writes it.
	unreadBytes = 256 << 20
)

// unread counts the bytes of large answers that are being sent: the gate lets the next query run before a
// slow client has read the last one's.
type unread struct {
	most  int64
	bytes atomic.Int64
}

// busyError says that too much is being sent already.
type busyError struct{ sentence string }

// Error implements error.
func (e *busyError) Error() string { return e.sentence }

// Unwrap returns a *query.LimitError.
func (e *busyError) Unwrap() error { return &query.LimitError{Sentence: e.sentence} }

// take returns what sends b, and counts it until it is closed.
func (u *unread) take(b []byte) (*sending, error) {
	n := int64(cap(b))
	if u.bytes.Add(n) > u.most {
		u.bytes.Add(-n)
		return nil, &busyError{fmt.Sprintf("clients have not read their answers yet, and with this one of %d bytes these have more than %d; "+
			"ask again, or for less", len(b), u.most)}
	}
	return &sending{Reader: bytes.NewReader(b), release: sync.OnceFunc(func() { u.bytes.Add(-n) })}, nil
}

// sending is an answer under way. fasthttp closes it when it is sent, or its client is gone.
type sending struct {
	*bytes.Reader
	release func()
}

// Close implements io.Closer.
func (s *sending) Close() error {
	s.release()
	return nil
}
