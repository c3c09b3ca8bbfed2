package ingest

import (
	"fmt"

	"cairn/agg"
	"cairn/internal/metric"
)

// Replayer applies batches of the journal again. It reads no clock: what it does
// depends on the records alone. It is for one goroutine.
type Replayer struct {
	parser Parser // that of the stripes
	b      parsed
	a      agg.Admission
	buf    []byte
}

// NewReplayer returns a Replayer into stripes whose resolver is parser's.
func NewReplayer(parser *Parser) *Replayer { return &Replayer{parser: *parser} }

// Replayed is what became of a record's events.
type Replayed struct {
	Applied int
	Left    int // out, because the filter said so
	// Refused counts events that counted once and could not now: beyond
	// --max-metrics, if that was lowered.
	Refused int
	Reason  metric.Reason // why the last one of them was refused
}

// Replay applies the events of r to s that counted when r was written, and for whose
// second keep returns true. notes gets its events and service checks; nil: nobody.
func (p *Replayer) Replay(r *Record, s *agg.Stripe, keep func(metric.UnixSec) bool, notes *Annotations) (out Replayed, err error) {
	now := r.Verdict.At
	p.b.reset()
	parser := Parser{Dialect: r.Dialect, Limits: widest, OriginTags: r.OriginTags, MaxAge: metric.MaxRetention}
	if r.Structured {
		err = p.b.readEvents(r.Body, now.Sec())
	} else if refusal := p.b.lines(&parser, r.Body, now.Sec(), r.Verdict.Rejected, notes != nil); refusal != nil {
		err = fmt.Errorf("a batch of %d bytes: %s", len(r.Body), refusal.Sentence)
	}
	if err != nil {
		return out, err
	}
	if n, rejects := len(p.b.events), len(p.b.rejects); n != int(r.Verdict.Accepted) || rejects > 0 {
		return out, fmt.Errorf("a batch of %d bytes: it has %d events and %d wrong lines, and had %d and 0 when it was accepted", len(r.Body), n, rejects, r.Verdict.Accepted)
	}
	p.apply(&parser, r, s, keep, &out)
	if notes != nil {
		for _, a := range p.b.noted {
			notes.Add(a)
		}
	}
	if !p.b.fits() || cap(p.buf) > maxKept {
		p.b, p.buf = parsed{}, nil
	}
	return out, nil
}

func (p *Replayer) apply(wide *Parser, r *Record, s *agg.Stripe, keep func(metric.UnixSec) bool, out *Replayed) {
	now, events := r.Verdict.At, p.b.events
	s.Lock()
	defer s.Unlock()
	p.a.Reset()
	// The stripe resolves lines with the settings of today.
	same := r.Structured || wide.Dialect == p.parser.Dialect && wide.OriginTags == p.parser.OriginTags
	if !same || s.Admit(&p.a, p.b.buf, events, now) < len(events) {
		if !r.Structured {
			p.rewrite(wide, events, now.Sec())
		}
		p.a.Reset()
		s.Admit(&p.a, p.b.buf, events, now)
	}
	for i := range events {
		e := &events[i]
		sec := e.Sec
		if sec == 0 {
			sec = now.Sec()
		}
		switch {
		case e.Reason != metric.OK:
			out.Refused++
			out.Reason = e.Reason
		case !keep(sec):
			e.Reason = metric.TooOld // Apply leaves it out
			out.Left++
		}
	}
	out.Applied = s.Apply(&p.a, events, now)
}

// rewrite gives events structured keys, which mean the same under all settings.
func (p *Replayer) rewrite(wide *Parser, events []agg.Raw, now metric.UnixSec) {
	p.buf = append(p.buf[:0], p.b.buf...)
	for i := range events {
		e := &events[i]
		res, reason := wide.Resolve(p.buf[e.Name:e.Name+uint32(e.NameLen)], p.buf[e.Rest:e.Rest+uint32(e.RestLen)], now)
		if reason != metric.OK {
			continue // Admit will find the same
		}
		if len(res.Series.Tags) > maxKey/2 {
			continue // no default comes near it
		}
		if res.Sec != 0 {
			e.Sec = res.Sec
		}
		name, key := len(p.buf), len(p.buf)+len(res.Series.Name)
		p.buf = append(p.buf, res.Series.Name...)
		p.buf = append(appendStructured(p.buf, res.Series.Kind, res.Weight), res.Series.Tags...)
		e.Name, e.NameLen = uint32(name), uint16(key-name)
		e.Rest, e.RestLen = uint32(key), uint16(len(p.buf)-key)
	}
	p.b.buf = p.buf
}
