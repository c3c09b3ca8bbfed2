package ingest

import (
	"errors"
	"io"
	"net/netip"
	"syscall"
)

// isEOF tells the end of a stream from one that broke off.
func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// drain counts what the kernel has taken of a connection that is about to be
// closed by us. A deadline has passed, so that Read would not look.
func (s *stream) drain(c streamConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		s.end(true)
		return
	}
	_ = raw.Control(func(fd uintptr) { s.drainFD(int(fd)) }) // fails if it is closed: then nothing is left
}

// drainFD reads a descriptor that does not block, for drainTime at most.
func (s *stream) drainFD(fd int) {
	end := s.t.clock.Now().Add(drainTime)
	for s.t.clock.Now().Before(end) {
		n, err := syscall.Read(fd, s.buf[s.have:])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			s.end(true)
			return
		case n == 0:
			s.end(false)
			return
		}
		if !s.took(n) {
			return
		}
	}
	s.end(true)
}

// takeQueued counts what came over connections that were made before Close, and
// not accepted yet.
func (t *TCP) takeQueued() {
	raw, err := t.listener.SyscallConn()
	if err != nil {
		return // the listener is closed: nothing is queued
	}
	end := t.clock.Now().Add(drainTime)
	_ = raw.Control(func(fd uintptr) { // fails if it is closed
		for n := 0; n < t.limit && t.clock.Now().Before(end); n++ {
			conn, from, err := syscall.Accept(int(fd))
			if err != nil {
				return
			}
			t.mu.Lock()
			t.stats.Accepted++
			t.mu.Unlock()
			if syscall.SetNonblock(conn, true) == nil {
				t.newStream(sockaddr(from)).drainFD(conn)
			}
			_ = syscall.Close(conn) // it is read
		}
	})
}

func sockaddr(from syscall.Sockaddr) netip.Addr {
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *syscall.SockaddrInet6:
		return netip.AddrFrom16(a.Addr).Unmap()
	}
	return netip.Addr{}
}
