package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"cairn/agg"
	"cairn/internal/clock"
	"cairn/internal/metric"
)

const (
	// maxConns bounds the connections of one listener: with a buffer of 64 KiB
	// each they take at most 64 MiB. One more is closed at once, so that its
	// sender learns of it.
	maxConns = 1024
	// idleTime is how long a connection may say nothing. It is long, because a
	// client that counts something rare should not have to connect again, and
	// bounded, because a peer that is gone without a word must not keep its place.
	idleTime = 5 * time.Minute
	// acceptPause is how long to wait after accept failed for want of descriptors
	// or memory: it would fail again at once.
	acceptPause = 100 * time.Millisecond
)

// TCP listens for connections that send lines. They get no answer, no more than
// datagrams do; one that breaks the rules is closed.
type TCP struct {
	addr     string
	clock    clock.Clock
	listener streamListener
	adopted  bool // whoever handed it over goes on listening
	line     int  // the longest line in bytes
	idle     time.Duration
	limit    int // connections
	stop     chan struct{}
	wg       sync.WaitGroup

	feedMu sync.Mutex // guards feeder's methods and from
	feeder *Feeder
	from   netip.Addr

	mu    sync.Mutex // guards all below
	conns map[streamConn]struct{}
	stats ConnStats
}

// ConnStats counts connections.
type ConnStats struct {
	Open     int
	Accepted uint64
	Refused  uint64 // closed at once, because there were too many
	Idle     uint64 // closed, because they said nothing for too long
}

// streamListener is a *net.TCPListener or *net.UnixListener.
type streamListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
}

// streamConn is a *net.TCPConn or *net.UnixConn.
type streamConn interface {
	net.Conn
	syscall.Conn
}

// ListenTCP binds address.
func ListenTCP(address string, stripe *agg.Stripe, parser *Parser, c clock.Clock) (*TCP, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("TCP address %q: %w; use host:port, such as 127.0.0.1:8125", address, err)
	}
	l, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, listenError("TCP", address, err)
	}
	return newTCP(l, stripe, parser, c), nil
}

// AdoptTCP takes over a listener of TCP or of a Unix stream socket, also after
// an error. Connections that it has not accepted at Close are left to the next
// owner.
func AdoptTCP(l net.Listener, stripe *agg.Stripe, parser *Parser, c clock.Clock) (*TCP, error) {
	s, ok := l.(streamListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s %s: not a stream socket", l.Addr().Network(), l.Addr()), l.Close())
	}
	t := newTCP(s, stripe, parser, c)
	t.adopted = true
	return t, nil
}

func newTCP(l streamListener, stripe *agg.Stripe, parser *Parser, c clock.Clock) *TCP {
	t := &TCP{
		addr: l.Addr().String(), clock: c, listener: l, line: parser.Limits.Line, idle: idleTime, limit: maxConns,
		stop: make(chan struct{}), feeder: NewFeeder(stripe, parser), conns: make(map[streamConn]struct{}),
	}
	t.feeder.origin = unixSender
	t.feeder.sender = func(int) netip.Addr { return t.from }
	return t
}

// Addr returns the address that is bound.
func (t *TCP) Addr() string { return t.addr }

// Counts returns what all connections sent and what was rejected. A packet is one
// read of whole lines.
func (t *TCP) Counts() (Counts, Samples) { return t.feeder.Counts() }

// Feeders returns the one feeder, for Rejects.
func (t *TCP) Feeders() []*Feeder { return []*Feeder{t.feeder} }

// Sockets returns none: the kernel drops nothing of a stream.
func (t *TCP) Sockets() []Socket { return nil }

// Conns counts the connections.
func (t *TCP) Conns() ConnStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Open = len(t.conns)
	return s
}

// Start begins to accept. failed is called once if the listener ends other than
// by Close.
func (t *TCP) Start(failed func(error)) {
	t.wg.Go(func() {
		if err := t.accept(); err != nil {
			failed(fmt.Errorf("accept on TCP %s: %w", t.addr, err))
		}
	})
}

// Close reads what the kernel has taken of all connections, closes them and
// waits for their readers to end.
func (t *TCP) Close() error {
	close(t.stop)
	err := t.listener.SetDeadline(longAgo)
	t.mu.Lock()
	for c := range t.conns {
		_ = c.SetReadDeadline(longAgo) // it may have ended by itself
	}
	t.mu.Unlock()
	t.wg.Wait()
	return errors.Join(err, t.listener.Close())
}

func (t *TCP) accept() error {
	for {
		c, err := t.listener.Accept()
		if err == nil {
			t.welcome(c.(streamConn))
			continue
		}
		select {
		case <-t.stop:
			if !t.adopted {
				t.takeQueued()
			}
			return nil
		default:
		}
		if !passing(err) {
			return err
		}
		pause := time.NewTimer(acceptPause)
		select {
		case <-pause.C:
		case <-t.stop:
		}
		pause.Stop()
	}
}

// passing says that accept can go on after err: the process or the system is
// short of something for now.
func passing(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (t *TCP) welcome(c streamConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.conns) >= t.limit {
		t.stats.Refused++
		_ = c.Close() // nothing to do about it
		return
	}
	t.stats.Accepted++
	t.conns[c] = struct{}{}
	t.wg.Go(func() {
		defer func() {
			t.mu.Lock()
			delete(t.conns, c)
			t.mu.Unlock()
			_ = c.Close() // whatever the peer sent is read; its end is its own
		}()
		t.read(c)
	})
}

// read reads a connection to its end.
func (t *TCP) read(c streamConn) {
	s := t.newStream(addrOf(c.RemoteAddr()))
	// A timer instead of a deadline a read, because a deadline is wall time.
	idle := time.AfterFunc(t.idle, func() { _ = c.SetReadDeadline(longAgo) })
	defer idle.Stop()
	for {
		select {
		case <-t.stop:
			s.drain(c)
			return
		default:
		}
		n, err := c.Read(s.buf[s.have:])
		idle.Reset(t.idle)
		if !s.took(n) {
			return
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			s.end(!isEOF(err))
			return
		case !t.stopped():
			t.mu.Lock()
			t.stats.Idle++
			t.mu.Unlock()
			s.end(true)
			return
		}
	}
}

func (t *TCP) stopped() bool {
	select {
	case <-t.stop:
		return true
	default:
		return false
	}
}

// stream is the bytes of one connection. buf holds the beginning of a line whose
// end has not come; it has room for the longest line with CR and LF.
type stream struct {
	t    *TCP
	from netip.Addr
	buf  []byte
	have int
}

func (t *TCP) newStream(from netip.Addr) *stream {
	return &stream{t: t, from: from, buf: make([]byte, slotSize)}
}

// took counts the lines that n new bytes complete. It returns false if the line
// that follows is too long already: it is rejected, and nobody can tell how it
// goes on.
func (s *stream) took(n int) bool {
	end := s.have + n
	whole := s.have + bytes.LastIndexByte(s.buf[s.have:end], '\n') + 1
	if whole > s.have {
		s.feed(whole, false)
		end = copy(s.buf, s.buf[whole:end])
	}
	s.have = end
	if s.have <= s.t.line+1 { // a line of the limit may end with CR
		return true
	}
	s.end(false)
	return false
}

// end counts what is left as a line: whole, or known to be cut.
func (s *stream) end(cut bool) {
	if s.have > 0 {
		s.feed(s.have, cut)
		s.have = 0
	}
}

func (s *stream) feed(end int, cut bool) {
	t := s.t
	t.feedMu.Lock()
	defer t.feedMu.Unlock()
	now := metric.MilliOf(t.clock.Now())
	t.from = s.from
	t.feeder.Feed(s.buf, 0, end, now, cut)
	t.feeder.Flush(s.buf, now)
}

func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
