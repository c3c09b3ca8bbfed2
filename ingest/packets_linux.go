package ingest

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canShare says that several sockets can share a port, each getting the
// datagrams of some of the senders.
const canShare = true

func listenShared(addr *net.UDPAddr) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); e != nil {
			return e
		}
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), "udp", addr.String())
	if err != nil {
		return nil, err
	}
	return pc.(*net.UDPConn), nil
}

// setBuffer asks for a receive buffer, unless the socket has a larger one, and
// returns what the kernel granted. As root the system's limit does not apply.
func setBuffer(_ packetConn, raw syscall.RawConn, bytes int) (granted int) {
	// A refusal is not an error: what was granted is reported.
	_ = raw.Control(func(fd uintptr) {
		granted, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		if granted >= 2*bytes { // the kernel grants twice what is asked for
			return
		}
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
		}
		granted, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return granted
}

// kernelDrops reads a socket's drop counter from SO_MEMINFO: nine 32-bit words,
// of which SK_MEMINFO_DROPS is the last (linux/sock_diag.h).
func kernelDrops(raw syscall.RawConn) (n uint32, ok bool) {
	var words [9]uint32
	size := uint32(unsafe.Sizeof(words))
	err := raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&words)), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && size >= uint32(unsafe.Sizeof(words))
	})
	return words[8], ok && err == nil
}

// mmsghdr is struct mmsghdr of recvmmsg(2); Go pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// nameSize is the room for a sender's address: a sockaddr_in6 is 28 bytes.
const nameSize = 32

// controlSize is the room for one control message with a 32-bit number.
const controlSize = 32

type batchSys struct {
	iov     [batchSize]unix.Iovec
	msgs    [batchSize]mmsghdr
	names   [batchSize][nameSize]byte
	named   bool                          // the kernel is asked for names
	control *[batchSize][controlSize]byte // nil: SO_MEMINFO tells the drops
	drops   atomic.Uint32                 // of the newest control message
	errno   syscall.Errno
	recv    func(fd uintptr) bool // made once: a closure a call would be an allocation
}

func (b *batch) init() {
	b.buf = make([]byte, batchSize*slotSize)
	for i := range b.sys.msgs {
		b.sys.iov[i].Base = &b.buf[i*slotSize]
		b.sys.iov[i].SetLen(slotSize)
		h := &b.sys.msgs[i].hdr
		h.Iov = &b.sys.iov[i]
		h.SetIovlen(1)
	}
	b.askSenders(true)
	b.sys.recv = func(fd uintptr) bool {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.sys.msgs[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		b.n, b.sys.errno = int(n), errno
		return errno != syscall.EAGAIN
	}
}

// countOverflow makes the kernel send its drop counter along with datagrams, for
// where SO_MEMINFO is refused, as some sandboxes do.
func (b *batch) countOverflow(raw syscall.RawConn) {
	// A refusal leaves the drops at 0; there is no third way to learn of them.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
	})
	b.sys.control = new([batchSize][controlSize]byte)
	for i := range b.sys.msgs {
		b.sys.msgs[i].hdr.Control = &b.sys.control[i][0]
		b.sys.msgs[i].hdr.SetControllen(controlSize)
	}
}

// overflow returns the drop counter that came with the newest datagram; ok is
// false if countOverflow was not called.
func (b *batch) overflow() (n uint32, ok bool) { return b.sys.drops.Load(), b.sys.control != nil }

// receive waits for datagrams and takes up to batchSize of them.
func (b *batch) receive(_ packetConn, raw syscall.RawConn) error {
	if err := raw.Read(b.sys.recv); err != nil {
		return err
	}
	return b.taken()
}

// poll takes what is queued; b.n is 0 if nothing is.
func (b *batch) poll(_ packetConn, raw syscall.RawConn) error {
	if err := raw.Control(func(fd uintptr) { b.sys.recv(fd) }); err != nil {
		return err
	}
	if b.sys.errno == syscall.EAGAIN {
		b.n = 0
		return nil
	}
	return b.taken()
}

func (b *batch) taken() error {
	switch b.sys.errno {
	case 0:
	case syscall.EINTR, syscall.ECONNREFUSED, syscall.ENOMEM:
		b.n = 0 // passing; the next call goes on
		return nil
	default:
		b.n = 0
		return b.sys.errno
	}
	for i := range b.n {
		m := &b.sys.msgs[i]
		b.length[i] = int(m.n)
		b.cut[i] = m.hdr.Flags&unix.MSG_TRUNC != 0
	}
	if b.sys.named {
		for i := range b.n {
			b.sys.msgs[i].hdr.Namelen = nameSize // the kernel wrote the length of the address there; the address tells its own
		}
	}
	if b.sys.control != nil && b.n > 0 {
		b.takeOverflow()
	}
	return nil
}

// takeOverflow reads the newest datagram's control message, which is there only
// once something was dropped, and makes room for the next ones.
func (b *batch) takeOverflow() {
	last := b.n - 1
	size := int(b.sys.msgs[last].hdr.Controllen)
	if messages, err := unix.ParseSocketControlMessage(b.sys.control[last][:min(size, controlSize)]); err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_RXQ_OVFL && len(m.Data) >= 4 {
				b.sys.drops.Store(binary.NativeEndian.Uint32(m.Data))
			}
		}
	}
	for i := range b.n {
		b.sys.msgs[i].hdr.SetControllen(controlSize)
	}
}

// askSenders says whether the next datagrams come with their senders' addresses.
func (b *batch) askSenders(yes bool) {
	if yes == b.sys.named {
		return
	}
	b.sys.named = yes
	for i := range b.sys.msgs {
		h := &b.sys.msgs[i].hdr
		h.Name, h.Namelen = nil, 0
		if yes {
			h.Name, h.Namelen = &b.sys.names[i][0], nameSize
		}
	}
}

// sender reads the socket address of datagram i (ip(7), ipv6(7)): the family, the
// port, and at offset 4 or 8 the address.
func (s *batchSys) sender(i int) netip.Addr {
	if !s.named {
		return netip.Addr{}
	}
	name := &s.names[i]
	switch binary.NativeEndian.Uint16(name[:]) {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(name[4:8]))
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(name[8:24])).Unmap()
	}
	return netip.Addr{}
}
