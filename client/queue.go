package client

import (
	"context"
	"fmt"
	"sync"
)

// batch is a sealed one: it has a sequence, and its bytes stay as they are.
type batch struct {
	sequence uint64
	payload  []byte // nil: in the spool only
	size     int    // of payload
	sent     int    // of payload: datagrams that are out
	lines    int
	lost     int // lines on the way; the last of the batch before may be among them
	low      bool
	stored   bool // in the spool
	tried    bool // it may be at the server: it is not shed any more
}

// queue holds batches in the order in which they are sent, bounded in memory and on disk.
type queue struct {
	max      int
	maxDisk  int64
	stats    *figures
	report   func(error)
	producer string

	mu      sync.Mutex // guards those below
	items   []*batch
	memory  int
	disk    int64
	last    uint64 // sequence
	spool   *spool
	changed chan struct{} // is closed, and replaced, when items change
}

func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// push appends a batch, and sheds until the bounds hold.
func (q *queue) push(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	b.sequence, b.size = q.last, len(b.payload)
	q.items = append(q.items, b)
	q.memory += b.size
	q.stats.queued.Add(int64(b.lines))
	if q.spool != nil {
		for q.disk+int64(b.size) > q.maxDisk && q.shed(b) {
		}
		if q.disk+int64(b.size) <= q.maxDisk {
			q.keep(b)
		}
	}
	for i := len(q.items) - 1; i > 0 && q.memory > q.max; i-- { // those sent last need not be in memory
		if old := q.items[i]; old.stored && old.payload != nil {
			q.memory -= old.size
			old.payload = nil
		}
	}
	for q.memory > q.max && q.shed(nil) {
	}
	q.wake()
}

// keep writes a batch to the spool.
func (q *queue) keep(b *batch) {
	if err := q.spool.write(b); err != nil {
		q.report(fmt.Errorf("client: a batch is in memory only: %w", err))
		return
	}
	b.stored = true
	q.addDisk(int64(b.size))
}

func (q *queue) addDisk(n int64) {
	q.disk += n
	q.stats.spool.Store(q.disk)
}

// shed drops the oldest batch that was not tried, but one of low priority first; false if
// there is none but except.
func (q *queue) shed(except *batch) bool {
	var victim *batch
	for _, b := range q.items {
		if b.tried || b == except {
			continue
		}
		if victim == nil || b.low && !victim.low {
			victim = b
		}
	}
	if victim == nil {
		return false
	}
	q.stats.drop(droppedBuffer, victim.lines)
	q.remove(victim)
	return true
}

// remove takes a batch out. The caller holds mu.
func (q *queue) remove(b *batch) {
	for i := range q.items {
		if q.items[i] == b {
			q.items = append(q.items[:i:i], q.items[i+1:]...)
			break
		}
	}
	if b.payload != nil {
		q.memory -= b.size
	}
	q.stats.queued.Add(-int64(b.lines))
	if b.stored {
		q.addDisk(-int64(b.size))
		if err := q.spool.remove(b.sequence); err != nil {
			q.report(fmt.Errorf("client: %w", err))
		}
	}
}

// finish takes out a batch that was sent.
func (q *queue) finish(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.sent.Add(int64(b.lines - b.lost))
	q.stats.drop(droppedSend, b.lost)
	q.remove(b)
	q.wake()
}

// drop takes out a batch that will not be sent.
func (q *queue) drop(b *batch, why dropReason) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.drop(why, b.lines)
	q.remove(b)
	q.wake()
}

// next returns the batch to be sent, once there is one; nil if ctx ended before.
func (q *queue) next(ctx context.Context) *batch {
	for {
		q.mu.Lock()
		changed := q.changed
		var b *batch
		if len(q.items) > 0 {
			b = q.items[0]
			b.tried = true
			if err := q.load(b); err != nil {
				q.report(fmt.Errorf("client: a batch of the spool is dropped: %w", err))
				q.stats.drop(droppedBuffer, b.lines)
				q.remove(b)
				q.wake()
				q.mu.Unlock()
				continue
			}
		}
		q.mu.Unlock()
		if b != nil {
			return b
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// load brings back what is in the spool only. The caller holds mu.
func (q *queue) load(b *batch) error {
	if b.payload != nil {
		return nil
	}
	read, err := q.spool.read(b.sequence)
	if err != nil {
		return err
	}
	b.payload = read.payload
	q.memory += b.size
	return nil
}

// crowded reports whether others wait behind a batch.
func (q *queue) crowded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) > 1
}

// wait returns once all that is queued now is out.
func (q *queue) wait(ctx context.Context) error {
	q.mu.Lock()
	until := q.last
	q.mu.Unlock()
	for {
		q.mu.Lock()
		changed := q.changed
		left := 0
		for _, b := range q.items {
			if b.sequence <= until {
				left += b.lines
			}
		}
		empty := len(q.items) == 0 || q.items[0].sequence > until
		q.mu.Unlock()
		if empty {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("client: %d lines are not sent yet: %w", left, context.Cause(ctx))
		case <-changed:
		}
	}
}

// close counts what is left, and lets go of the spool. Nobody else uses the queue.
func (q *queue) close() error {
	for _, b := range q.items {
		if !b.stored {
			q.stats.drop(droppedClose, b.lines)
			q.stats.queued.Add(-int64(b.lines))
		}
	}
	if q.spool == nil {
		return nil
	}
	return q.spool.close()
}
