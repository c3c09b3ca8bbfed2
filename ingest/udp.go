package ingest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"cairn/agg"
	"cairn/internal/clock"
	"cairn/internal/metric"
)

const (
	// batchSize is how many datagrams one system call takes.
	batchSize = 64
	// slotSize is the room for one datagram. It is an odd number of cache
	// lines, so that the heads of the datagrams do not share a cache set.
	slotSize = 1025 * 64
	// drainTime bounds how long Close reads on: what the kernel had queued when
	// Close was called is read in far less; a sender that never stops must not
	// hold up the process.
	drainTime = 2 * time.Second
)

// UDP listens on one address with one or several sockets, each with a reader,
// a Feeder and a stripe of its own.
type UDP struct {
	addr    *net.UDPAddr
	clock   clock.Clock
	readers []*reader
	wg      sync.WaitGroup
}

type reader struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	feeder *Feeder
	batch  batch
	stop   chan struct{} // closed to drain and end
	err    error         // why it ended, once it has

	mu     sync.Mutex // guards socket
	socket Socket
}

// Socket describes one socket of a listener.
type Socket struct {
	Buffer int    // effective receive buffer in bytes, as the kernel accounts it
	Drops  uint64 // datagrams that the kernel dropped because the buffer was full
}

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
	u := &UDP{addr: probe.LocalAddr().(*net.UDPAddr), clock: c}
	if err := probe.Close(); err != nil {
		return nil, listenError("UDP", address, err)
	}
	for _, s := range stripes {
		r := &reader{feeder: NewFeeder(s, parser), stop: make(chan struct{})}
		if r.conn, err = listenShared(u.addr); err == nil {
			r.raw, err = r.conn.SyscallConn()
		}
		if err != nil {
			u.closeSockets()
			return nil, listenError("UDP", address, err)
		}
		r.socket.Buffer = setBuffer(r.conn, r.raw, buffer)
		r.batch.init()
		u.readers = append(u.readers, r)
		if !canShare {
			break
		}
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

// Addr returns the address that is bound.
func (u *UDP) Addr() string { return u.addr.String() }

// Start begins to read. failed is called once for each socket that ends other
// than by Close.
func (u *UDP) Start(failed func(error)) {
	for _, r := range u.readers {
		u.wg.Go(func() {
			if r.err = r.run(u.clock); r.err != nil {
				failed(fmt.Errorf("read UDP %s: %w", u.addr, r.err))
			}
		})
	}
}

// Close reads what the kernel has queued, closes the sockets and waits for the
// readers to end.
func (u *UDP) Close() error {
	for _, r := range u.readers {
		close(r.stop)
		// Wakes a reader that waits for a datagram.
		if err := r.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
			return fmt.Errorf("close UDP %s: %w", u.addr, err)
		}
	}
	u.wg.Wait()
	for _, r := range u.readers {
		r.Socket() // the last reading of its drops
	}
	return u.closeSockets()
}

func (u *UDP) closeSockets() error {
	var errs []error
	for _, r := range u.readers {
		if r.conn != nil {
			errs = append(errs, r.conn.Close())
		}
	}
	return errors.Join(errs...)
}

// Counts returns what all readers received and rejected.
func (u *UDP) Counts() (total Counts, samples Samples) {
	for _, r := range u.readers {
		c, s := r.feeder.Counts()
		total.Add(c)
		for i, line := range s {
			if line != "" {
				samples[i] = line
			}
		}
	}
	return total, samples
}

// Sockets describes the sockets.
func (u *UDP) Sockets() []Socket {
	var out []Socket
	for _, r := range u.readers {
		out = append(out, r.Socket())
	}
	return out
}

// Socket reads the kernel's figures; of a closed socket it returns the last ones.
func (r *reader) Socket() Socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := kernelDrops(r.raw); ok {
		r.socket.Drops = n
	}
	return r.socket
}

// run reads until stop is closed, and then what is queued.
func (r *reader) run(c clock.Clock) error {
	for {
		err := r.batch.receive(r.conn, r.raw)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			select {
			case <-r.stop:
				return r.drain(c)
			default:
			}
		}
		if err != nil {
			return err
		}
		r.feed(c.Now())
	}
}

func (r *reader) drain(c clock.Clock) error {
	end := c.Now().Add(drainTime)
	for now := c.Now(); now.Before(end); now = c.Now() {
		err := r.batch.poll(r.conn, r.raw)
		if err != nil || r.batch.n == 0 {
			return err
		}
		r.feed(now)
	}
	return nil
}

func (r *reader) feed(now time.Time) {
	b, at := &r.batch, metric.MilliOf(now)
	for i := range b.n {
		begin := i * slotSize
		r.feeder.Feed(b.buf, begin, begin+b.length[i], at, b.cut[i])
	}
	r.feeder.Flush(b.buf, at)
}

// batch is the datagrams of one system call; datagram i is at i * slotSize in buf.
type batch struct {
	buf    []byte
	n      int
	length [batchSize]int
	cut    [batchSize]bool // did not fit
	sys    batchSys
}
