package ingest

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"cairn/agg"
	"cairn/internal/clock"
)

// UDP listens on one address with one or several sockets.
type UDP struct{ packets }

// ListenUDP binds address, with one socket for each stripe. buffer is the receive
// buffer to ask for, in bytes.
func ListenUDP(address string, stripes []*agg.Stripe, parser *Parser, buffer int, c clock.Clock) (*UDP, error) {
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, fmt.Errorf("UDP address %q: %w; use host:port, such as 127.0.0.1:8125", address, err)
	}
	// Sockets that share a port would share it with another process as well,
	// without a word; one that does not share finds out.
	probe, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, listenError("UDP", address, err)
	}
	addr = probe.LocalAddr().(*net.UDPAddr)
	if err := probe.Close(); err != nil {
		return nil, listenError("UDP", address, err)
	}
	u := &UDP{packets{what: "UDP", addr: addr.String(), clock: c}}
	for _, s := range stripes {
		conn, err := listenShared(addr)
		if err == nil {
			err = u.add(conn, s, parser, buffer)
		}
		if err != nil {
			return nil, errors.Join(listenError("UDP", address, err), u.closeSockets())
		}
		if !canShare {
			break
		}
	}
	return u, nil
}

// AdoptUDP takes over a bound socket, also after an error.
func AdoptUDP(conn *net.UDPConn, stripe *agg.Stripe, parser *Parser, buffer int, c clock.Clock) (*UDP, error) {
	u := &UDP{packets{what: "UDP", addr: conn.LocalAddr().String(), clock: c}}
	if err := u.add(conn, stripe, parser, buffer); err != nil {
		return nil, errors.Join(err, u.closeSockets())
	}
	return u, nil
}

func listenError(what, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s %s is in use by another process; stop it, or choose another address", what, address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s %s: permission denied; ports below 1024 need root", what, address)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the address is named already
	}
	return fmt.Errorf("listen on %s %s: %w", what, address, err)
}
