package ingest

import (
	"context"
	"net"
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

// setBuffer asks for a receive buffer and returns what the kernel granted. As
// root the system's limit does not apply.
func setBuffer(_ *net.UDPConn, raw syscall.RawConn, bytes int) (granted int) {
	// A refusal is not an error: what was granted is reported.
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
		}
		granted, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return granted
}

// kernelDrops reads a socket's drop counter from SO_MEMINFO: nine 32-bit words,
// of which SK_MEMINFO_DROPS is the last (linux/sock_diag.h).
func kernelDrops(raw syscall.RawConn) (n uint64, ok bool) {
	var words [9]uint32
	size := uint32(unsafe.Sizeof(words))
	err := raw.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&words)), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && size >= uint32(unsafe.Sizeof(words))
	})
	return uint64(words[8]), ok && err == nil
}

// mmsghdr is struct mmsghdr of recvmmsg(2); Go pads it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

type batchSys struct {
	iov   [batchSize]unix.Iovec
	msgs  [batchSize]mmsghdr
	errno syscall.Errno
	recv  func(fd uintptr) bool // made once: a closure a call would be an allocation
}

func (b *batch) init() {
	b.buf = make([]byte, batchSize*slotSize)
	for i := range b.sys.msgs {
		b.sys.iov[i].Base = &b.buf[i*slotSize]
		b.sys.iov[i].SetLen(slotSize)
		b.sys.msgs[i].hdr.Iov = &b.sys.iov[i]
		b.sys.msgs[i].hdr.SetIovlen(1)
	}
	b.sys.recv = func(fd uintptr) bool {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.sys.msgs[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
		b.n, b.sys.errno = int(n), errno
		return errno != syscall.EAGAIN
	}
}

// receive waits for datagrams and takes up to batchSize of them.
func (b *batch) receive(_ *net.UDPConn, raw syscall.RawConn) error {
	if err := raw.Read(b.sys.recv); err != nil {
		return err
	}
	return b.taken()
}

// poll takes what is queued; b.n is 0 if nothing is.
func (b *batch) poll(_ *net.UDPConn, raw syscall.RawConn) error {
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
		b.length[i] = int(b.sys.msgs[i].n)
		b.cut[i] = b.sys.msgs[i].hdr.Flags&unix.MSG_TRUNC != 0
	}
	return nil
}
