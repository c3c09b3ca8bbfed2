package ingest

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
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

// askTime is how long after a rejected line the kernel is asked for the sender of
// every datagram.
const askTime = time.Minute

// longAgo is a deadline that has passed: it wakes whoever waits on a socket.
var longAgo = time.Unix(1, 0)

// packetConn is a datagram socket: *net.UDPConn or *net.UnixConn.
type packetConn interface {
	io.Closer
	syscall.Conn
	SetReadBuffer(bytes int) error
	SetReadDeadline(t time.Time) error
}

// packets reads datagrams from the sockets of one listener, each with a reader, a
// Feeder and a stripe of its own.
type packets struct {
	what    string // for errors: UDP or Unix socket
	addr    string
	clock   clock.Clock
	readers []*reader
	wg      sync.WaitGroup
}

type reader struct {
	conn   packetConn
	raw    syscall.RawConn
	feeder *Feeder
	batch  batch
	stop   chan struct{} // closed to drain and end
	err    error         // why it ended, once it has
	askTo  time.Time     // until when senders are asked for

	mu     sync.Mutex // guards socket and seen
	socket Socket
	seen   uint32 // the kernel's drop counter when it was last read; it wraps
}

// Socket describes one socket of a listener.
type Socket struct {
	Name   string // the listener's address and the socket's number: 127.0.0.1:8125/0
	Buffer int    // effective receive buffer in bytes, as the kernel accounts it
	Drops  uint64 // datagrams that the kernel dropped because the buffer was full
}

// add makes conn a socket of p, which owns it from now on, also after an error.
// buffer is the receive buffer to ask for in bytes; 0 leaves it as it is.
func (p *packets) add(conn packetConn, stripe *agg.Stripe, parser *Parser, buffer int) error {
	r := &reader{conn: conn, feeder: NewFeeder(stripe, parser), stop: make(chan struct{})}
	p.readers = append(p.readers, r)
	var err error
	if r.raw, err = conn.SyscallConn(); err != nil {
		return fmt.Errorf("%s %s: %w", p.what, p.addr, err)
	}
	r.feeder.origin = unixSender
	if p.what != unixSocket {
		r.feeder.origin = unknownSender
	}
	r.feeder.sender = r.batch.sender
	r.socket = Socket{Name: fmt.Sprintf("%s/%d", p.addr, len(p.readers)-1), Buffer: setBuffer(conn, r.raw, buffer)}
	r.batch.init()
	if n, ok := kernelDrops(r.raw); ok {
		r.seen = n // those before our time, of a socket that was handed over
	} else {
		r.batch.countOverflow(r.raw)
	}
	return nil
}

// Addr returns the address that is bound.
func (p *packets) Addr() string { return p.addr }

// Start begins to read. failed is called once for each socket that ends other
// than by Close.
func (p *packets) Start(failed func(error)) {
	for _, r := range p.readers {
		p.wg.Go(func() {
			if r.err = r.run(p.clock); r.err != nil {
				failed(fmt.Errorf("read %s %s: %w", p.what, p.addr, r.err))
			}
		})
	}
}

// Close reads what the kernel has queued, closes the sockets and waits for the
// readers to end.
func (p *packets) Close() error {
	for _, r := range p.readers {
		close(r.stop)
		if err := r.conn.SetReadDeadline(longAgo); err != nil {
			return fmt.Errorf("close %s %s: %w", p.what, p.addr, err)
		}
	}
	p.wg.Wait()
	for _, r := range p.readers {
		r.Socket() // the last reading of its drops
	}
	return p.closeSockets()
}

func (p *packets) closeSockets() error {
	var errs []error
	for _, r := range p.readers {
		errs = append(errs, r.conn.Close())
	}
	return errors.Join(errs...)
}

// Counts returns what all readers received and rejected.
func (p *packets) Counts() (total Counts, samples Samples) {
	for _, r := range p.readers {
		c, s := r.feeder.Counts()
		total.Add(c)
		samples.Add(s)
	}
	return total, samples
}

// Feeders returns the feeders of all readers, for Rejects.
func (p *packets) Feeders() []*Feeder {
	var out []*Feeder
	for _, r := range p.readers {
		out = append(out, r.feeder)
	}
	return out
}

// Sockets describes the sockets.
func (p *packets) Sockets() []Socket {
	var out []Socket
	for _, r := range p.readers {
		out = append(out, r.Socket())
	}
	return out
}

// Socket reads the kernel's figures; of a closed socket it returns the last ones.
func (r *reader) Socket() Socket {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.batch.overflow()
	if !ok {
		n, ok = kernelDrops(r.raw)
	}
	if ok {
		r.socket.Drops += uint64(n - r.seen)
		r.seen = n
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
		r.feeder.packet = i
		r.feeder.Feed(b.buf, begin, begin+b.length[i], at, b.cut[i])
	}
	r.feeder.Flush(b.buf, at)
	if r.feeder.faults {
		r.feeder.faults, r.askTo = false, now.Add(askTime)
	}
	// An address costs a tenth of what receiving a small datagram does. Where
	// batches are full that is too much for something that only a rejected line
	// needs; where they are not, nobody waits for it.
	b.askSenders(b.n < batchSize || now.Before(r.askTo))
}

// batch is the datagrams of one system call; datagram i is at i * slotSize in buf.
type batch struct {
	buf    []byte
	n      int
	length [batchSize]int
	cut    [batchSize]bool // did not fit
	sys    batchSys
}

// sender returns who sent datagram i, if askSenders said so before it came; a Unix
// socket has no address.
func (b *batch) sender(i int) netip.Addr { return b.sys.sender(i) }
