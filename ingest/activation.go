package ingest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Inherited is a socket that whoever started the process handed over. One field
// is set. Closing it here leaves it open there, with what its queue holds.
type Inherited struct {
	UDP    *net.UDPConn
	UDS    *net.UnixConn // datagrams
	Stream net.Listener
}

// Inherit takes over descriptor fd, of which name is what messages call it.
func Inherit(fd int, name string) (Inherited, error) {
	// Descriptors are inherited by children of ours too, unless they are marked.
	syscall.CloseOnExec(fd)
	sort, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return Inherited{}, fmt.Errorf("the inherited descriptor %d (%s) is not a socket: %w", fd, name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() // the connection has a descriptor of its own
	switch sort {
	case syscall.SOCK_DGRAM:
		c, err := net.FilePacketConn(f)
		if err != nil {
			return Inherited{}, fmt.Errorf("the inherited socket %d (%s): %w", fd, name, err)
		}
		switch c := c.(type) {
		case *net.UDPConn:
			return Inherited{UDP: c}, nil
		case *net.UnixConn:
			return Inherited{UDS: c}, nil
		}
		err = fmt.Errorf("the inherited socket %d (%s) is neither UDP nor a Unix socket", fd, name)
		return Inherited{}, errors.Join(err, c.Close())
	case syscall.SOCK_STREAM:
		l, err := net.FileListener(f)
		if err != nil {
			return Inherited{}, fmt.Errorf("the inherited socket %d (%s) does not listen: %w", fd, name, err)
		}
		return Inherited{Stream: l}, nil
	}
	return Inherited{}, fmt.Errorf("the inherited socket %d (%s) is neither for datagrams nor for a stream", fd, name)
}

// Close closes a socket that nobody took.
func (i Inherited) Close() error {
	switch {
	case i.UDP != nil:
		return i.UDP.Close()
	case i.UDS != nil:
		return i.UDS.Close()
	case i.Stream != nil:
		return i.Stream.Close()
	}
	return nil
}
