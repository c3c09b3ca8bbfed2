//go:build unix && !linux

package ingest

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// Elsewhere than on Linux one socket reads one datagram a call: right, and fast
// enough to develop with.
const canShare = false

type batchSys struct{ from netip.Addr }

func listenShared(addr *net.UDPAddr) (*net.UDPConn, error) { return net.ListenUDP("udp", addr) }

func setBuffer(conn packetConn, _ syscall.RawConn, bytes int) int {
	if bytes == 0 || conn.SetReadBuffer(bytes) != nil {
		return 0 // unknown
	}
	return bytes
}

func kernelDrops(syscall.RawConn) (uint32, bool) { return 0, false }

func (b *batch) countOverflow(syscall.RawConn) {}

func (b *batch) overflow() (uint32, bool) { return 0, false }

func (b *batch) init() { b.buf = make([]byte, batchSize*slotSize) }

// receive waits for one datagram.
func (b *batch) receive(_ packetConn, raw syscall.RawConn) error {
	var err error
	if e := raw.Read(func(fd uintptr) bool {
		err = b.take(int(fd))
		return !errors.Is(err, syscall.EAGAIN)
	}); e != nil {
		return e
	}
	return err
}

// poll takes what is queued; b.n is 0 if nothing is.
func (b *batch) poll(_ packetConn, raw syscall.RawConn) error {
	var err error
	if e := raw.Control(func(fd uintptr) { err = b.take(int(fd)) }); e != nil { // the descriptor does not block
		return e
	}
	if errors.Is(err, syscall.EAGAIN) {
		return nil
	}
	return err
}

func (b *batch) take(fd int) error {
	b.n = 0
	n, from, err := syscall.Recvfrom(fd, b.buf[:slotSize], 0)
	if err != nil {
		return err
	}
	b.n, b.length[0], b.cut[0], b.sys.from = 1, n, n == slotSize, netip.Addr{}
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		b.sys.from = netip.AddrFrom4(a.Addr)
	case *syscall.SockaddrInet6:
		b.sys.from = netip.AddrFrom16(a.Addr).Unmap()
	}
	return nil
}

// askSenders changes nothing here: the address always comes along.
func (b *batch) askSenders(bool) {}

func (s *batchSys) sender(int) netip.Addr { return s.from }
