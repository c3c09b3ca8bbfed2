package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Client counts, and sends what was counted once a second. It is safe for concurrent use. A
// nil Client does nothing, and neither does one that is closed.
type Client struct {
	table atomic.Pointer[table]
	seed  uint64

	o      options
	to     transport
	queue  *queue
	closed atomic.Bool

	mu            sync.Mutex // guards those up to collectors
	known         map[string]any
	counters      []*Counter
	gauges        []*Gauge
	distributions []*Distribution
	sets          []*Set
	aliases       int
	collectors    []func()

	spillMu  sync.Mutex // guards spilled and spillLen
	spilled  [2]lines   // by priority: normal, low
	spillLen int

	collectMu sync.Mutex // held while counts are taken; guards those up to own
	buffers   [2]lines
	lastSend  int64
	own       ownCounters

	stats  figures
	cancel context.CancelFunc // ends the goroutines
	done   sync.WaitGroup
}

// New returns a Client that sends to an address:
//
//	udp://host:port      datagrams of at most 1,432 bytes, 8,192 to a loopback address
//	unixgram:///path     datagrams of at most 8,192 bytes
//	http://host:port     batches that count exactly once; https:// too
//
// An empty one is read from CAIRN_ADDR, DD_DOGSTATSD_URL (udp:// or unix://) or
// DD_AGENT_HOST and DD_DOGSTATSD_PORT (8125), whichever is set first, and else is
// udp://127.0.0.1:8125. That nobody listens there is no error. Close ends the Client.
func New(address string, opts ...Option) (*Client, error) {
	o := defaults()
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	to, err := dial(address, &o)
	if err != nil {
		return nil, err
	}
	return start(to, o)
}

// start makes a Client of a transport, which it closes.
func start(to transport, o options) (*Client, error) {
	c := &Client{seed: rand.Uint64(), o: o, to: to, known: map[string]any{}}
	c.queue = &queue{max: o.buffer, maxDisk: o.spoolBytes, stats: &c.stats, report: o.onError, changed: make(chan struct{})}
	if o.spool != "" {
		if !to.exact() {
			return nil, errors.Join(errors.New("client: a spool needs an http:// address: nothing else tells what has arrived"), to.close())
		}
		if err := c.queue.openSpool(o.spool); err != nil {
			return nil, errors.Join(err, to.close())
		}
	}
	if c.queue.producer == "" {
		c.queue.producer = newProducer()
	}
	c.table.Store(newTable(64))
	c.own = newOwnCounters(c)
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.done.Go(func() { c.tick(ctx) })
	c.done.Go(func() { c.deliver(ctx) })
	return c, nil
}

func (c *Client) lineMax() int { return min(maxLine, c.to.most()) }

// refuse counts what cannot be sent.
func (c *Client) refuse(name, why string) {
	c.stats.refused.Add(1)
	if len(name) > 80 {
		name = name[:80] + "..."
	}
	c.o.onError(fmt.Errorf("client: %q was refused: %s", name, why))
}

// handle returns the handle of a series, which is made if there is none; false if there
// cannot be one.
func handle[H any](c *Client, typ, name string, tags []Pair, made func(series) H) (h H, ok bool) {
	if c == nil || c.closed.Load() {
		return h, false
	}
	s, why := newSeries(name, typ, c.o.tags, tags, c.o.low, c.lineMax())
	if why != "" {
		c.refuse(name, why)
		return h, false
	}
	key := s.prefix + s.suffix
	c.mu.Lock()
	defer c.mu.Unlock()
	if h, ok = c.known[key].(H); !ok {
		h = made(s)
		c.known[key] = h
	}
	return h, true
}

// Counter returns the counter of a series. It is nil, which counts nothing, if name or
// tags are refused; OnError is told why. Keep it: finding it takes a lock.
func (c *Client) Counter(name string, tags ...Pair) *Counter {
	h, _ := handle(c, "c", name, tags, c.addCounter)
	return h
}

func (c *Client) addCounter(s series) *Counter {
	h := &Counter{series: s}
	c.counters = append(c.counters, h)
	return h
}

// Gauge returns the gauge of a series, in the same way as Counter.
func (c *Client) Gauge(name string, tags ...Pair) *Gauge {
	h, _ := handle(c, "g", name, tags, func(s series) *Gauge {
		h := &Gauge{series: s}
		c.gauges = append(c.gauges, h)
		return h
	})
	return h
}

// Distribution returns the distribution of a series, in the same way as Counter.
func (c *Client) Distribution(name string, tags ...Pair) *Distribution {
	h, _ := handle(c, "d", name, tags, func(s series) *Distribution {
		h := &Distribution{c: c, series: s}
		c.distributions = append(c.distributions, h)
		return h
	})
	return h
}

// Set returns the set of a series, in the same way as Counter.
func (c *Client) Set(name string, tags ...Pair) *Set {
	h, _ := handle(c, "s", name, tags, func(s series) *Set {
		h := &Set{c: c, series: s}
		c.sets = append(c.sets, h)
		return h
	})
	return h
}

// Timer returns the timer of a series, in the same way as Counter: a distribution of
// milliseconds.
func (c *Client) Timer(name string, tags ...Pair) *Timer {
	if d := c.Distribution(name, tags...); d != nil {
		return &Timer{d}
	}
	return nil
}

// Count adds n to a series that it finds by name and tags. It allocates only at the first
// sight of them; tags in another order are the same series.
func (c *Client) Count(name string, n int64, tags ...Pair) {
	if c == nil {
		return
	}
	hash := hashOf(c.seed, name, tags)
	if h := c.table.Load().find(hash, name, tags); h != nil {
		h.Add(n)
		return
	}
	c.countNew(hash, name, n, tags)
}

// countNew is Count where it has not seen name and tags before, or there are too many.
func (c *Client) countNew(hash uint64, name string, n int64, tags []Pair) {
	if c.closed.Load() {
		return
	}
	own := make([]Pair, len(tags)) // those of the caller stay on its stack
	for i, t := range tags {       // and their bytes may be a part of something large
		own[i] = Pair{strings.Clone(t.key), strings.Clone(t.value)}
	}
	s, why := newSeries(name, "c", c.o.tags, own, c.o.low, c.lineMax())
	if why != "" {
		c.refuse(name, why)
		return
	}
	key := s.prefix + s.suffix
	c.mu.Lock()
	h, ok := c.known[key].(*Counter)
	if !ok && len(c.counters) < c.o.series {
		h, ok = c.addCounter(s), true
		c.known[key] = h
	}
	if t := c.table.Load(); ok && c.aliases < 2*c.o.series && t.find(hash, name, own) == nil {
		c.aliases++
		c.table.Store(t.add(&alias{hash: hash, counter: h, name: strings.Clone(name), tags: own}))
	}
	c.mu.Unlock()
	if ok {
		h.Add(n)
		return
	}
	stamp := time.Now().Unix()
	c.spill(s.low, func(b []byte) ([]byte, int) { return s.appendCount(b, n, stamp), 1 })
}

func (s *series) appendCount(b []byte, n, stamp int64) []byte {
	b = strconv.AppendInt(append(b, s.prefix...), n, 10)
	return append(strconv.AppendInt(append(b, s.suffix...), stamp, 10), '\n')
}

// spill takes lines that are not kept as a series' sum until the second ends.
func (c *Client) spill(low bool, appendTo func([]byte) ([]byte, int)) {
	c.spillMu.Lock()
	defer c.spillMu.Unlock()
	l := &c.spilled[priority(low)]
	before := len(l.text)
	text, n := appendTo(l.text)
	if added := len(text) - before; c.spillLen+added <= c.o.buffer {
		l.text, l.n = text, l.n+n
		c.spillLen += added
		return
	}
	l.text = text[:before]
	c.stats.drop(droppedBuffer, n)
}

func priority(low bool) int {
	if low {
		return 1
	}
	return 0
}

// lines are whole lines.
type lines struct {
	text []byte
	n    int
}

// cut takes whole lines off the front: at most most bytes, but one line at least.
func cut(text []byte, most int) (head, rest []byte) {
	if len(text) <= most {
		return text, nil
	}
	i := bytes.LastIndexByte(text[:most], '\n')
	if i < 0 {
		i = bytes.IndexByte(text, '\n')
	}
	return text[:i+1], text[i+1:]
}

// Collect has f called before counts are taken, once a second, by one goroutine at a
// time: for gauges that are read from elsewhere. f should return soon, and must not call
// the Client's Flush or Close.
func (c *Client) Collect(f func()) {
	if c == nil || f == nil {
		return
	}
	c.mu.Lock()
	c.collectors = append(c.collectors, f)
	c.mu.Unlock()
}

// Flush takes what was counted, and returns once all of it is sent, which over HTTP means
// stored by the server, or dropped for a reason that Stats counts. If ctx ends before,
// the error says how much is left; it is still being sent. A series that is counted
// again within the second has a second line for it; the server adds them.
func (c *Client) Flush(ctx context.Context) error {
	if c == nil || c.closed.Load() {
		return nil
	}
	return c.flush(ctx)
}

func (c *Client) flush(ctx context.Context) error {
	c.collect(time.Now(), true, true)
	return c.queue.wait(ctx)
}

// Close flushes, and ends the Client. What is left when ctx ends is in the spool, if there
// is one and it fit; else it is dropped, and the error says so. What is counted after
// Close has begun may or may not be sent. A second Close returns nil.
func (c *Client) Close(ctx context.Context) error {
	if c == nil || c.closed.Swap(true) {
		return nil
	}
	err := c.flush(ctx)
	c.cancel()
	c.done.Wait()
	return errors.Join(err, c.queue.close(), c.to.close())
}
