package client

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// farDatagram fits into an Ethernet frame, with headers of IPv6 and of tunnels.
	farDatagram = 1432
	// nearDatagram is for what does not leave the host.
	nearDatagram = 8192
	// sendTime is how long a full socket is waited for.
	sendTime = time.Second
	// dialTime is how long a name is looked up.
	dialTime = 5 * time.Second
)

// datagrams sends lines over UDP or a Unix socket, which keep nobody waiting for an answer.
type datagrams struct {
	network, address string
	size             int
	mu               sync.Mutex // guards those below
	conn             net.Conn   // nil: to be dialled
	before           int        // lines of the last datagram
}

func (d *datagrams) encode(lines []byte) []byte { return bytes.Clone(lines) }
func (d *datagrams) most() int                  { return d.size }
func (d *datagrams) exact() bool                { return false }

func (d *datagrams) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hangUp()
}

func (d *datagrams) hangUp() error {
	if d.conn == nil {
		return nil
	}
	err := d.conn.Close()
	d.conn = nil
	return err
}

// send sends the datagrams of a batch. What a Unix socket does not take waits for it; what
// UDP does not take is lost.
func (d *datagrams) send(ctx context.Context, _ string, b *batch) outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	for b.sent < len(b.payload) {
		err := ctx.Err()
		if err == nil {
			err = d.dial(ctx)
		}
		if err != nil {
			return outcome{err: err, again: true}
		}
		text, _ := cut(b.payload[b.sent:], d.size)
		err = d.write(text)
		if errors.Is(err, syscall.ECONNREFUSED) && d.network == "udp" {
			b.lost += d.before // the error is about the datagram before
			err = d.write(text)
		}
		d.before = 0
		switch {
		case err == nil:
			d.before = countLines(text)
		case d.network != "udp":
			return outcome{err: errors.Join(err, d.hangUp()), again: true}
		default:
			b.lost += countLines(text)
			if !errors.Is(err, syscall.ECONNREFUSED) {
				_ = d.hangUp() // the next datagram has another socket
			}
		}
		b.sent += len(text)
	}
	return outcome{}
}

// dial opens the socket, if there is none: a name may have got another address.
func (d *datagrams) dial(ctx context.Context) error {
	if d.conn != nil {
		return nil
	}
	dialer := net.Dialer{Timeout: dialTime}
	conn, err := dialer.DialContext(ctx, d.network, d.address)
	if err == nil {
		d.conn = conn
	}
	return err
}

func (d *datagrams) write(text []byte) error {
	if err := d.conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	_, err := d.conn.Write(text)
	return err
}
