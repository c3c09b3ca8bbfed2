package client

import (
	"bytes"
	"sync/atomic"
)

// Stats is what a Client has done since New. Lines are those of one series in one second;
// a long distribution takes several, and a set one a member.
type Stats struct {
	Sent      uint64 // lines that went out; over HTTP, that the server has stored, or rejected
	Rejected  uint64 // of those, lines that the server answered it does not count
	Refused   uint64 // calls with a name, a tag or a member that cannot be sent
	Retries   uint64 // sendings that failed, and were or will be repeated
	Queued    uint64 // lines that wait now, in memory and in the spool
	SpoolSize uint64 // bytes that the spool takes now

	Dropped         uint64 // lines that will not be sent: the sum of those below
	DroppedBuffer   uint64 // there was no room in memory or in the spool
	DroppedSend     uint64 // the network refused a datagram
	DroppedServer   uint64 // the server answered that it cannot read a batch, or that its sequence is used
	DroppedPriority uint64 // of low priority, and refused by the server while others waited
	DroppedClose    uint64 // not sent when Close ended, and in no spool
}

type dropReason int

const (
	droppedBuffer dropReason = iota
	droppedSend
	droppedServer
	droppedPriority
	droppedClose
	numDropReasons
)

// reasonNames are the values of the tag reason of cairn.client.dropped.
func (r dropReason) String() string {
	return [...]string{"buffer", "send", "server", "priority", "close"}[r]
}

type figures struct {
	sent, rejected, refused, retries, queued, spool atomic.Int64
	dropped                                         [numDropReasons]atomic.Int64
}

func (f *figures) drop(r dropReason, lines int) { f.dropped[r].Add(int64(lines)) }

// Stats returns what the Client has done.
func (c *Client) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	f := &c.stats
	s := Stats{
		Sent: uint64(f.sent.Load()), Rejected: uint64(f.rejected.Load()), Refused: uint64(f.refused.Load()), Retries: uint64(f.retries.Load()),
		Queued: uint64(f.queued.Load()), SpoolSize: uint64(f.spool.Load()),
	}
	for r, to := range [...]*uint64{&s.DroppedBuffer, &s.DroppedSend, &s.DroppedServer, &s.DroppedPriority, &s.DroppedClose} {
		*to = uint64(f.dropped[r].Load())
		s.Dropped += *to
	}
	return s
}

// ownCounters are the metrics cairn.client.*, which are sent where they are not 0.
type ownCounters struct {
	dropped                    [numDropReasons]ownCounter
	rejected, refused, retries ownCounter
}

type ownCounter struct {
	handle *Counter
	seen   int64
}

func newOwnCounters(c *Client) (o ownCounters) {
	for r := range o.dropped {
		o.dropped[r].handle = c.Counter("cairn.client.dropped", Tag("reason", dropReason(r).String()))
	}
	o.rejected.handle = c.Counter("cairn.client.rejected")
	o.refused.handle = c.Counter("cairn.client.refused")
	o.retries.handle = c.Counter("cairn.client.retries")
	return o
}

// note adds to the metrics what has come since the last note.
func (o *ownCounters) note(c *Client) {
	for r := range o.dropped {
		o.dropped[r].note(&c.stats.dropped[r])
	}
	o.rejected.note(&c.stats.rejected)
	o.refused.note(&c.stats.refused)
	o.retries.note(&c.stats.retries)
}

func (o *ownCounter) note(total *atomic.Int64) {
	if n := total.Load(); n != o.seen {
		o.handle.Add(n - o.seen)
		o.seen = n
	}
}

func countLines(text []byte) int { return bytes.Count(text, []byte{'\n'}) }
