package ingest

import (
	"bytes"
	"slices"
	"strings"

	"cairn/agg"
	"cairn/internal/dedupe"
	"cairn/internal/metric"
)

const (
	// maxBatchEvents bounds the memory for the events of one batch: 56 MiB. Lines of
	// MaxDecoded bytes with 32 bytes each are as many.
	maxBatchEvents = 1 << 20
	// maxBatchRejects bounds what an answer, the journal and the memory of sequences
	// hold of the wrong events of one batch. What has more is no batch of events.
	maxBatchRejects = 10_000
	// maxBatchNotes bounds the events and service checks of one batch, each of which
	// takes ten times its line: more would push one another out of what is kept.
	maxBatchNotes = maxAnnotations
	// chargeStep is for how much memory a batch asks at a time while it is read: more than
	// the usual batch needs in all.
	chargeStep = 256 << 10
)

// format is how the events of a batch are written.
type format uint8

const (
	formatLines format = iota
	formatJSON
	formatNDJSON
)

// parseContentType reads a Content-Type header.
func parseContentType(header string) (format, *Refusal) {
	name, _, _ := strings.Cut(header, ";")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "", "text/plain":
		return formatLines, nil
	case "application/json":
		return formatJSON, nil
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return formatNDJSON, nil
	}
	return 0, refuse(statusUnknownType, "Content-Type %q is not text/plain (StatsD lines), application/json or application/x-ndjson", cutSample(header))
}

// parsed is what was read out of one batch.
type parsed struct {
	buf     []byte // the names and keys of events lie here
	events  []agg.Raw
	rejects []dedupe.Reject // in order of their lines
	noted   []metric.Annotation
	notes   int     // events and service checks
	ignored uint64  // events with a timestamp that means nothing
	places  []place // of a structured batch: where each event with entries in events was
	keys    []byte  // of a structured batch: what buf is cut out of
	// take is asked for the memory of events while they are read, charged bytes so far:
	// a few KB decode to a million of them. nil: nobody is.
	take    func(int) *Refusal
	charged int
}

// place is where an event of a structured batch is.
type place struct {
	name    uint32 // Raw.Name of its entries
	line    uint32
	at, end uint32 // of its text, in the body
}

func (b *parsed) reset() {
	*b = parsed{
		events: b.events[:0], rejects: b.rejects[:0], noted: b.noted[:0], places: b.places[:0], keys: b.keys[:0],
	}
}

// fits reports whether b is small enough to be kept for the next batch.
func (b *parsed) fits() bool {
	return cap(b.events) <= maxKept/64 && cap(b.keys) <= maxKept && cap(b.places) <= maxKept/16 && cap(b.rejects) <= maxBatchRejects && cap(b.noted) <= maxKept/256
}

func (b *parsed) reject(line uint32, reason metric.Reason) {
	b.rejects = append(b.rejects, dedupe.Reject{Line: line, Reason: reason})
}

// charge asks for the memory of what was read since it asked last, and of more bytes,
// if that is least at least.
func (b *parsed) charge(least, more int) *Refusal {
	n := len(b.events)*rawSize + more - b.charged
	if b.take == nil || n < least {
		return nil
	}
	b.charged += n
	return b.take(n)
}

// tooMany refuses what does not fit into one batch.
func (b *parsed) tooMany() *Refusal {
	switch {
	case len(b.events) > maxBatchEvents:
		return refuse(statusTooLarge, "the batch has more than %d events; send smaller batches", maxBatchEvents)
	case b.notes > maxBatchNotes:
		return refuse(statusTooLarge, "the batch has more than %d events (_e) and service checks (_sc); send smaller batches", maxBatchNotes)
	case len(b.rejects) > maxBatchRejects:
		r := b.rejects[0]
		return refuse(statusBad, "more than %d events of the batch are wrong, and nothing of it was counted; the first is number %d: %s, %s",
			maxBatchRejects, r.Line, r.Reason, r.Reason.Sentence())
	}
	return nil
}

// lines reads the lines of body, of which it leaves out those in skip. keep says
// that annotations are kept.
func (b *parsed) lines(p *Parser, body []byte, now metric.UnixSec, skip []dedupe.Reject, keep bool) *Refusal {
	b.buf = body
	for at, n := 0, uint32(1); at < len(body); n++ {
		if len(skip) > 0 && skip[0].Line == n {
			skip = skip[1:]
			_, at, _ = cutLine(body, at, len(body))
			continue
		}
		if len(b.events) == cap(b.events) {
			if r := b.tooMany(); r != nil {
				return r
			}
			if r := b.charge(chargeStep, 0); r != nil {
				return r
			}
			b.events = slices.Grow(b.events, 1)
		}
		e := &b.events[:len(b.events)+1][len(b.events)]
		if stop, ok := p.splitPlain(e, body, at, len(body)); ok {
			e.Reason = metric.OK
			b.events, at = b.events[:len(b.events)+1], stop+1
			continue
		}
		stop, next, _ := cutLine(body, at, len(body))
		if stop > at {
			b.line(p, at, stop, n, now, keep)
			if len(b.rejects) > maxBatchRejects || b.notes > maxBatchNotes {
				return b.tooMany()
			}
			if r := b.charge(chargeStep, 0); r != nil {
				return r
			}
		}
		at = next
	}
	return b.tooMany()
}

// line reads the line buf[at:stop], which is the one with number n.
func (b *parsed) line(p *Parser, at, stop int, n uint32, now metric.UnixSec, keep bool) {
	if b.buf[at] == '_' && isAnnotation(b.buf[at:stop]) {
		a, reason := p.annotation(b.buf[at:stop], now)
		if reason != metric.OK {
			b.reject(n, reason)
			return
		}
		b.notes++
		if keep {
			b.noted = append(b.noted, a)
		}
		return
	}
	before := len(b.events)
	events, ignored, reason := p.split(b.events, b.buf, at, stop, now)
	b.events = events
	if reason != metric.OK {
		b.reject(n, reason)
	} else if ignored {
		b.ignored += uint64(len(events) - before)
	}
}

// refused adds what Admit rejected, and keeps a line together: one of which any
// event is wrong does not count at all. It returns how many events are left.
func (b *parsed) refused() (accepted int) {
	own := len(b.rejects)
	line, at := uint32(1), 0
	for i := 0; i < len(b.events); {
		name, reason, end := b.events[i].Name, metric.OK, i
		for ; end < len(b.events) && b.events[end].Name == name; end++ {
			if reason == metric.OK {
				reason = b.events[end].Reason
			}
		}
		if reason == metric.OK {
			accepted += end - i
			i = end
			continue
		}
		for ; i < end; i++ {
			b.events[i].Reason = reason
		}
		if len(b.places) > 0 {
			b.reject(b.placeOf(name).line, reason)
			continue
		}
		line += uint32(bytes.Count(b.buf[at:name], []byte{'\n'}))
		at = int(name)
		b.reject(line, reason)
	}
	if own > 0 && own < len(b.rejects) {
		slices.SortFunc(b.rejects, func(x, y dedupe.Reject) int { return int(int64(x.Line) - int64(y.Line)) })
	}
	return accepted
}

func (b *parsed) placeOf(name uint32) place {
	i, found := slices.BinarySearchFunc(b.places, name, func(p place, name uint32) int { return int(int64(p.name) - int64(name)) })
	if !found {
		panic("BUG: an event without a place")
	}
	return b.places[i]
}

// last returns the latest second of an accepted event; 0: there is none.
func (b *parsed) last(now metric.UnixSec) (last metric.UnixSec) {
	for i := range b.events {
		e := &b.events[i]
		if e.Reason != metric.OK {
			continue
		}
		sec := e.Sec
		if sec == 0 {
			sec = now
		}
		last = max(last, sec)
	}
	return last
}

// cutSample escapes what a sender sent, cut to what a sample keeps.
func cutSample[T ~string | ~[]byte](s T) string { return escape(string(s[:min(len(s), maxSample)])) }
