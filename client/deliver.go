package client

import (
	"context"
	"crypto/rand"
	"fmt"
	random "math/rand/v2"
	"time"
)

// transport is the way to the server: datagrams, or HTTP.
type transport interface {
	// encode returns what is sent of lines, which it does not keep.
	encode(lines []byte) []byte
	// send sends a batch, and says what became of it. It does not outlast ctx.
	send(ctx context.Context, producer string, b *batch) outcome
	most() int   // bytes of the longest line
	exact() bool // whether it tells what has arrived
	close() error
}

// outcome is what became of a batch.
type outcome struct {
	err      error // nil: it is out
	again    bool  // with err: it is to be sent again
	refused  bool  // with again: nothing of it counts
	why      dropReason
	after    time.Duration // with again: not before
	rejected int           // lines that the server does not count
	reason   string        // why the first was rejected
}

const (
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
	// patience is how often a batch of low priority may be refused while others wait.
	patience = 3
)

// deliver sends batches in order until ctx ends.
func (c *Client) deliver(ctx context.Context) {
	failures, refusals := 0, 0
	for {
		b := c.queue.next(ctx)
		if b == nil {
			return
		}
		out := c.to.send(ctx, c.queue.producer, b)
		if out.rejected > 0 {
			c.stats.rejected.Add(int64(out.rejected))
			c.o.onError(fmt.Errorf("client: the server does not count %d lines, the first for %s", out.rejected, out.reason))
		}
		switch {
		case out.err == nil:
			c.queue.finish(b)
			failures, refusals = 0, 0
			continue
		case ctx.Err() != nil:
			return
		case !out.again:
			c.o.onError(fmt.Errorf("client: a batch is dropped: %w", out.err))
			c.queue.drop(b, out.why)
			failures, refusals = 0, 0
			continue
		}
		c.stats.retries.Add(1)
		if out.refused {
			refusals++
		}
		if refusals >= patience && b.low && c.queue.crowded() {
			c.queue.drop(b, droppedPriority)
			refusals = 0
			continue
		}
		if failures++; failures == 1 {
			c.o.onError(fmt.Errorf("client: will be sent again: %w", out.err))
		}
		if !pause(ctx, backoff(failures)+out.after) {
			return
		}
	}
}

// backoff is how long to wait after so many failures in a row: twice as long each time,
// and by chance up to half as long, so that clients do not come back all at once.
func backoff(failures int) time.Duration {
	d := min(firstWait<<min(failures-1, 10), lastWait)
	return d/2 + random.N(d/2)
}

// pause reports whether d has passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// newProducer returns a random UUID.
func newProducer() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
