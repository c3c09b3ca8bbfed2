//go:build unix && !linux

package ingest

import (
	"errors"
	"net"
	"syscall"
)

// Elsewhere than on Linux one socket reads one datagram a call: right, and fast
// enough to develop with.
const canShare = false

type batchSys struct{}

func listenShared(addr *net.UDPAddr) (*net.UDPConn, error) { return net.ListenUDP("udp", addr) }

func setBuffer(conn *net.UDPConn, _ syscall.RawConn, bytes int) int {
	if conn.SetReadBuffer(bytes) != nil {
		return 0 // unknown
	}
	return bytes
}

func kernelDrops(syscall.RawConn) (uint64, bool) { return 0, false }

func (b *batch) init() { b.buf = make([]byte, batchSize*slotSize) }

func (b *batch) receive(conn *net.UDPConn, _ syscall.RawConn) error {
	n, _, err := conn.ReadFromUDPAddrPort(b.buf[:slotSize])
	if err != nil {
		return err
	}
	b.n, b.length[0], b.cut[0] = 1, n, n == slotSize
	return nil
}

func (b *batch) poll(_ *net.UDPConn, raw syscall.RawConn) (err error) {
	b.n = 0
	if e := raw.Control(func(fd uintptr) { // the descriptor does not block
		var n int
		if n, _, err = syscall.Recvfrom(int(fd), b.buf[:slotSize], 0); err == nil {
			b.n, b.length[0], b.cut[0] = 1, n, n == slotSize
		}
	}); e != nil {
		return e
	}
	if errors.Is(err, syscall.EAGAIN) {
		return nil
	}
	return err
}
