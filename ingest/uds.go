package ingest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"cairn/agg"
	"cairn/internal/clock"
)

// unixSocket is what errors call a UDS.
const unixSocket = "Unix socket"

// UDS listens on a Unix datagram socket. A sender waits while its queue is full:
// nothing is dropped.
type UDS struct {
	packets
	file fs.FileInfo // of the socket, if it is ours to remove
}

// ListenUDS binds path, with mode as the file's permissions. What a process that
// is dead has left there is replaced.
func ListenUDS(path string, mode fs.FileMode, stripe *agg.Stripe, parser *Parser, c clock.Clock) (*UDS, error) {
	addr := &net.UnixAddr{Name: path, Net: "unixgram"}
	if err := removeStale(addr); err != nil {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", addr)
	if err != nil {
		if errors.Is(err, syscall.EACCES) {
			return nil, fmt.Errorf("%s %s: permission denied; its directory must be writable", unixSocket, path)
		}
		return nil, listenError(unixSocket, path, err)
	}
	u := &UDS{packets: packets{what: unixSocket, addr: path, clock: c}}
	err = u.add(conn, stripe, parser, 0)
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err == nil {
		u.file, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(listenError(unixSocket, path, err), u.closeSockets(), os.Remove(path))
	}
	return u, nil
}

// AdoptUDS takes over a bound socket, also after an error; its file stays.
func AdoptUDS(conn *net.UnixConn, stripe *agg.Stripe, parser *Parser, c clock.Clock) (*UDS, error) {
	u := &UDS{packets: packets{what: unixSocket, addr: conn.LocalAddr().String(), clock: c}}
	if err := u.add(conn, stripe, parser, 0); err != nil {
		return nil, errors.Join(err, u.closeSockets())
	}
	return u, nil
}

// removeStale removes a socket that nobody reads any more: the kernel refuses a
// connection to it.
func removeStale(addr *net.UnixAddr) error {
	info, err := os.Lstat(addr.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return listenError(unixSocket, addr.Name, err)
	case info.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s %s: there is a file of that name which is no socket; remove it, or choose another path", unixSocket, addr.Name)
	}
	conn, err := net.DialUnix("unixgram", nil, addr)
	switch {
	case err == nil:
		return errors.Join(listenError(unixSocket, addr.Name, syscall.EADDRINUSE), conn.Close())
	case errors.Is(err, syscall.EPROTOTYPE): // of another type, and alive
		return listenError(unixSocket, addr.Name, syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(addr.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s %s: remove what a dead process left: %w", unixSocket, addr.Name, err)
		}
		return nil
	}
	return listenError(unixSocket, addr.Name, err)
}

// Close removes the file, so that no new sender comes, reads what is queued, and
// closes the socket.
func (u *UDS) Close() error {
	var err error
	// Another process may have put its own socket there.
	if now, e := os.Lstat(u.addr); u.file != nil && e == nil && os.SameFile(now, u.file) {
		err = os.Remove(u.addr)
	}
	return errors.Join(err, u.packets.Close())
}
