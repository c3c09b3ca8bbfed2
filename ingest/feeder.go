package ingest

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"

	"cairn/agg"
	"cairn/internal/metric"
)

// Counts is what a Feeder received and why it turned events away. At every
// instant Received = Accepted + Noted + the sum of Rejected.
type Counts struct {
	Packets  uint64
	Bytes    uint64
	Received uint64 // events; a line that is not counted is one
	Accepted uint64
	Noted    uint64 // DogStatsD events and service checks: shown, not counted
	Rejected [metric.NumReasons]uint64
	// TimeIgnored is how many events carried a timestamp that their kind does not
	// take.
	TimeIgnored uint64
}

// Add adds other to c.
func (c *Counts) Add(other Counts) {
	c.Packets += other.Packets
	c.Bytes += other.Bytes
	c.Received += other.Received
	c.Accepted += other.Accepted
	c.Noted += other.Noted
	c.TimeIgnored += other.TimeIgnored
	for r, n := range other.Rejected {
		c.Rejected[r] += n
	}
}

// Samples holds the last line that was turned away for each reason.
type Samples [metric.NumReasons]string

// Add takes over the samples of other.
func (s *Samples) Add(other Samples) {
	for i, line := range other {
		if line != "" {
			s[i] = line
		}
	}
}

// maxSample is how many bytes of a line a sample keeps: enough to recognise the
// sender by.
const maxSample = 160

// group is how many events are collected before they go to the stripe: the
// stripe's lock is taken once for them.
const group = 256

// Feeder feeds one stripe. Its owner calls Feed from one goroutine at a time.
type Feeder struct {
	stripe *agg.Stripe
	parser *Parser
	events []agg.Raw
	fed    []line // where events lie: the bytes of a Feed each, in order
	notes  *Annotations

	// Who sent what is fed is asked only when a line of it is rejected.
	packet int                         // the number that sender knows the bytes by
	sender func(packet int) netip.Addr // nil, or no address: origin
	origin string                      // what to call a sender without an address
	table  rejectTable
	faults bool // something was rejected since its owner last looked

	// Guarded by the stripe's lock, so that they agree with what it holds.
	counts  Counts
	samples Samples

	// What was counted since the stripe was last locked.
	pending  Counts
	rejected []rejection
}

// line is where a line, or several, lie in the buffer, and the packet they came in.
type line struct {
	at, end uint32
	packet  int32
}

type rejection struct {
	line
	reason metric.Reason
}

// NewFeeder returns a feeder of stripe, of which parser is the resolver too.
func NewFeeder(stripe *agg.Stripe, parser *Parser) *Feeder {
	return &Feeder{
		stripe: stripe, parser: parser, origin: ownSender,
		events: make([]agg.Raw, 0, group),
	}
}

// Keep makes f put events and service checks into notes. Without it they are
// checked and counted only.
func (f *Feeder) Keep(notes *Annotations) { f.notes = notes }

// Feed takes the lines in buf[at:end], which arrived at now. A last line
// needs no line end; if cut is set, it is known to be incomplete.
func (f *Feeder) Feed(buf []byte, at, end int, now metric.UnixMilli, cut bool) {
	f.pending.Packets++
	f.pending.Bytes += uint64(end - at)
	f.fed = append(f.fed, line{uint32(at), uint32(end), int32(f.packet)})
	for at < end {
		n := len(f.events) // less than group
		e := &f.events[:n+1][n]
		if stop, ok := f.parser.splitPlain(e, buf, at, end); ok && !(cut && stop == end) {
			f.events, at = f.events[:n+1], stop+1
		} else {
			at = f.feedAny(buf, at, end, now, cut)
		}
		if len(f.events) >= group || len(f.rejected) >= group {
			f.Flush(buf, now)
			f.fed = append(f.fed, line{uint32(at), uint32(end), int32(f.packet)})
		}
	}
}

// feedAny takes the line that begins at at, and returns where the next one does.
func (f *Feeder) feedAny(buf []byte, at, end int, now metric.UnixMilli, cut bool) (next int) {
	stop, next, whole := cutLine(buf, at, end)
	if stop == at {
		return next
	}
	cut = cut && !whole
	before := len(f.events)
	reason := metric.Truncated
	switch {
	case cut:
	case buf[at] == '_' && isAnnotation(buf[at:stop]):
		reason = f.note(buf[at:stop], now.Sec())
	default:
		var ignored bool
		f.events, ignored, reason = f.parser.split(f.events, buf, at, stop, now.Sec())
		if ignored {
			f.pending.TimeIgnored += uint64(len(f.events) - before)
		}
	}
	if reason != metric.OK {
		f.pending.Received++
		f.rejected = append(f.rejected, rejection{line{uint32(at), uint32(stop), int32(f.packet)}, reason})
	}
	return next
}

// cutLine returns where the line that begins at at ends, without its line end, and
// where the next one begins. whole says that there is a line end.
func cutLine(buf []byte, at, end int) (stop, next int, whole bool) {
	stop, next = end, end
	if i := bytes.IndexByte(buf[at:end], '\n'); i >= 0 {
		stop, next, whole = at+i, at+i+1, true
	}
	if stop > at && buf[stop-1] == '\r' {
		stop--
	}
	return stop, next, whole
}

// lineOf finds the line of an event again.
func (f *Feeder) lineOf(buf []byte, e *agg.Raw) line {
	i, found := slices.BinarySearchFunc(f.fed, e.Name, func(l line, at uint32) int { return cmp.Compare(l.at, at) })
	if !found {
		i-- // the last one that begins before the line does
	}
	l := f.fed[i]
	l.at = e.Name
	if i := bytes.IndexByte(buf[l.at:l.end], '\n'); i >= 0 {
		l.end = l.at + uint32(i)
	}
	if buf[l.end-1] == '\r' {
		l.end--
	}
	return l
}

// note takes an event or a service check.
func (f *Feeder) note(line []byte, now metric.UnixSec) metric.Reason {
	a, reason := f.parser.annotation(line, now)
	if reason != metric.OK {
		return reason
	}
	f.pending.Received++
	f.pending.Noted++
	if f.notes != nil {
		f.notes.Add(a)
	}
	return metric.OK
}

// Flush hands what was collected to the stripe. It must be called before the
// bytes of buf change.
func (f *Feeder) Flush(buf []byte, now metric.UnixMilli) {
	f.add(buf, now)
	if len(f.rejected) > 0 {
		f.table.addAll(f, buf, now)
		f.faults = true
	}
	f.events, f.fed, f.rejected = f.events[:0], f.fed[:0], f.rejected[:0]
}

func (f *Feeder) add(buf []byte, now metric.UnixMilli) {
	f.stripe.Lock()
	defer f.stripe.Unlock()
	accepted := f.stripe.Add(buf, f.events, now)
	f.pending.Accepted += uint64(accepted)
	f.pending.Received += uint64(len(f.events))
	if accepted < len(f.events) {
		for i := range f.events {
			if r := f.events[i].Reason; r != metric.OK {
				f.rejected = append(f.rejected, rejection{f.lineOf(buf, &f.events[i]), r})
			}
		}
	}
	for i := len(f.rejected) - 1; i >= 0; i-- {
		r := f.rejected[i]
		if f.pending.Rejected[r.reason]++; f.pending.Rejected[r.reason] == 1 {
			f.samples[r.reason] = string(buf[r.at:min(r.end, r.at+maxSample)])
		}
	}
	f.counts.Add(f.pending)
	f.pending = Counts{}
}

// Counts returns what was received so far, with samples of what was rejected.
func (f *Feeder) Counts() (Counts, Samples) {
	f.stripe.Lock()
	defer f.stripe.Unlock()
	c := f.counts
	c.TimeIgnored += f.stripe.IgnoredTimes() // those that stand among the fields
	return c, f.samples
}
