package client

import (
	"context"
	"strconv"
	"time"
)

// early is by how much a timer may run ahead of the wall clock without its tick being
// taken for one of the second before.
const early = 100 * time.Millisecond

// tick takes what was counted at the end of each second.
func (c *Client) tick(ctx context.Context) {
	timer := time.NewTimer(untilNext(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c.collect(time.Now(), false, false)
		timer.Reset(untilNext(time.Now()))
	}
}

func untilNext(now time.Time) time.Duration {
	return now.Add(early).Truncate(time.Second).Add(time.Second).Sub(now)
}

// collect takes what was counted and stamps it. At a tick that is the second that has
// ended; what was asked for in the midst of a second is of that one. If send is set,
// it is sent at once, and else once the flush interval has passed.
func (c *Client) collect(now time.Time, midst, send bool) {
	c.collectMu.Lock()
	defer c.collectMu.Unlock()
	stamp := now.Unix()
	if !midst {
		stamp = now.Add(early).Unix() - 1
	}
	c.mu.Lock()
	collectors := c.collectors
	c.mu.Unlock()
	for _, f := range collectors {
		f()
	}
	c.own.note(c)
	c.mu.Lock()
	counters, gauges := c.counters, c.gauges // collectors may have made some
	distributions, sets := c.distributions, c.sets
	c.mu.Unlock()
	var digits [24]byte
	tail := append(strconv.AppendInt(digits[:0], stamp, 10), '\n')
	for _, h := range counters {
		if n := h.take(); n != 0 {
			l := &c.buffers[priority(h.low)]
			b := strconv.AppendInt(append(l.text, h.prefix...), n, 10)
			l.text = append(append(b, h.suffix...), tail...)
			l.n++
		}
	}
	for _, h := range gauges {
		if v, ok := h.take(); ok {
			l := &c.buffers[priority(h.low)]
			b := strconv.AppendFloat(append(l.text, h.prefix...), v, 'g', -1, 64)
			l.text = append(append(b, h.suffix...), tail...)
			l.n++
		}
	}
	c.collectSlow(distributions, sets)
	for _, l := range c.buffers {
		send = send || len(l.text) >= batchBytes // what waits for the interval is bounded
	}
	if second := now.Add(early).Unix(); send || second-c.lastSend >= c.o.interval || second < c.lastSend {
		c.lastSend = second - second%c.o.interval
		c.seal()
	}
}

// collectSlow takes what is no number, and what was spilled before. The caller holds
// collectMu.
func (c *Client) collectSlow(distributions []*Distribution, sets []*Set) {
	for _, h := range distributions {
		l := &c.buffers[priority(h.low)]
		h.mu.Lock()
		text, n := h.appendLines(l.text)
		h.mu.Unlock()
		l.text, l.n = text, l.n+n
	}
	for _, h := range sets {
		l := &c.buffers[priority(h.low)]
		h.mu.Lock()
		text, n := h.appendLines(l.text)
		h.mu.Unlock()
		l.text, l.n = text, l.n+n
	}
	c.spillMu.Lock()
	for i := range c.spilled {
		c.buffers[i].text = append(c.buffers[i].text, c.spilled[i].text...)
		c.buffers[i].n += c.spilled[i].n
		c.spilled[i] = lines{}
	}
	c.spillLen = 0
	c.spillMu.Unlock()
}

// batchBytes is how much text one batch holds.
const batchBytes = 1 << 20

// seal makes batches of the lines that were taken, and queues them. The caller holds
// collectMu.
func (c *Client) seal() {
	for i := range c.buffers {
		l := &c.buffers[i]
		for rest := l.text; len(rest) > 0; {
			var head []byte
			head, rest = cut(rest, batchBytes)
			n := l.n
			if rest != nil {
				n = countLines(head)
			}
			l.n -= n
			c.queue.push(&batch{payload: c.to.encode(head), lines: n, low: i == 1})
		}
		if l.text, l.n = l.text[:0], 0; cap(l.text) > 4*batchBytes {
			l.text = nil
		}
	}
}
