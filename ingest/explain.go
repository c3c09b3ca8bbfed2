package ingest

import (
	"bytes"
	"fmt"
	"math"

	"cairn/agg"
	"cairn/internal/metric"
)

// Explanation is how one dialect reads a line: as events, as an annotation, or
// not at all.
type Explanation struct {
	Dialect    string             `json:"dialect"`
	Events     []ExplainedEvent   `json:"events,omitempty"`
	Annotation *ExplainedNote     `json:"annotation,omitempty"`
	Rejected   *ExplainedReason   `json:"rejected,omitempty"`
	Warnings   []ExplainedWarning `json:"warnings,omitempty"`
}

// ExplainedEvent is one event of a line.
type ExplainedEvent struct {
	Name   string         `json:"name"`
	Kind   string         `json:"kind"`
	Value  *float64       `json:"value,omitempty"`  // as sent; not of a set
	Member *string        `json:"member,omitempty"` // of a set
	Op     string         `json:"op,omitempty"`     // of a gauge: reading, assign, adjust
	Weight float64        `json:"weight"`           // how many events it stands for: 1 / rate
	Time   metric.UnixSec `json:"time"`             // Unix seconds
	Tags   []ExplainedTag `json:"tags"`
}

// ExplainedTag is one tag.
type ExplainedTag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// ExplainedNote is an event or a service check of DogStatsD.
type ExplainedNote struct {
	Type     string         `json:"type"` // event, service_check
	Title    string         `json:"title"`
	Text     string         `json:"text"`
	Status   string         `json:"status"`
	Priority string         `json:"priority,omitempty"`
	Host     string         `json:"host,omitempty"`
	Key      string         `json:"key,omitempty"`
	Source   string         `json:"source,omitempty"`
	Time     metric.UnixSec `json:"time"`
	Tags     []ExplainedTag `json:"tags"`
}

// ExplainedReason says why a line is not counted.
type ExplainedReason struct {
	Reason   string `json:"reason"`
	Sentence string `json:"sentence"`
	Offset   int    `json:"offset"` // in bytes: where Text begins in the line
	Text     string `json:"text"`   // what is wrong, cut to 160 bytes; "": something is missing there
}

// ExplainedWarning is about a line that is counted.
type ExplainedWarning struct {
	Warning  string `json:"warning"`
	Sentence string `json:"sentence"`
}

// Explain says how a parser like that reads one line that arrives at now in each
// dialect, whatever like's own is, without counting it. A line end is not a part of the line; what follows one is not read.
func Explain(line []byte, like Parser, now metric.UnixSec) []Explanation {
	line, _, _ = bytes.Cut(line, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	out := make([]Explanation, 0, numDialects)
	for d := range numDialects {
		p := like
		p.Dialect = d
		e := p.explain(line, now)
		e.Dialect = d.String()
		out = append(out, e)
	}
	return out
}

func (p *Parser) explain(line []byte, now metric.UnixSec) Explanation {
	if isAnnotation(line) {
		a, reason := p.annotation(line, now)
		if reason != metric.OK {
			return Explanation{Rejected: p.explainReason(string(line), reason, now)}
		}
		return Explanation{Annotation: explainNote(&a)}
	}
	raws, ignored, reason := p.split(nil, line, 0, len(line), now)
	var out Explanation
	start := bytes.IndexByte(line, ':') + 1 // of the value
	for _, r := range raws {
		var res agg.Resolution
		res, reason = p.Resolve(line[:r.NameLen], line[r.Rest:r.Rest+uint32(r.RestLen)], now)
		v := math.Float64frombits(r.Bits)
		if reason == metric.OK && res.Series.Kind != metric.Set && !(math.Abs(res.Weight.Of(v)) <= metric.MaxValue) {
			reason = metric.BadValue
		}
		if reason != metric.OK {
			break
		}
		e := ExplainedEvent{
			Name: res.Series.Name, Kind: res.Series.Kind.String(), Weight: res.Weight.Of(1), Time: now,
			Tags: explainTags(res.Series.Tags),
		}
		if sec := max(r.Sec, res.Sec); sec != 0 {
			e.Time = sec
		}
		switch res.Series.Kind {
		case metric.Set:
			member := string(line[start : r.Rest-1])
			e.Member = &member
		case metric.Gauge:
			e.Op = [...]string{agg.Reading: "reading", agg.Assign: "assign", agg.Adjust: "adjust"}[r.Op]
			e.Value = &v
		default:
			e.Value = &v
		}
		out.Events = append(out.Events, e)
		ignored = ignored || res.TimeIgnored
		start = int(r.Rest) + int(r.RestLen) + 1
	}
	if reason != metric.OK {
		return Explanation{Rejected: p.explainReason(string(line), reason, now)}
	}
	if ignored {
		out.Warnings = []ExplainedWarning{{
			"time_ignored", "A timestamp means something for counters and gauges only; the event counts for the second of its arrival.",
		}}
	}
	return out
}

func explainTags(ts metric.Tagset) []ExplainedTag {
	out := []ExplainedTag{}
	for t := range ts.All() {
		out = append(out, ExplainedTag(t))
	}
	return out
}

func explainNote(a *metric.Annotation) *ExplainedNote {
	e := &ExplainedNote{
		Type: "event", Title: a.Title, Text: a.Text, Status: a.Status, Priority: a.Priority, Host: a.Host,
		Key: a.Key, Source: a.Source, Time: a.Time, Tags: explainTags(a.Tags),
	}
	if a.Check {
		e.Type = "service_check"
	}
	return e
}

func (p *Parser) explainReason(line string, reason metric.Reason, now metric.UnixSec) *ExplainedReason {
	f := p.locate(line, reason, now)
	e := &ExplainedReason{Reason: reason.String(), Offset: f.at, Text: f.text[:min(len(f.text), maxSample)]}
	what := fmt.Sprintf("The %s %q at byte %d", f.role, e.Text, f.at)
	if f.text == "" {
		what = fmt.Sprintf("There is no %s at byte %d", f.role, f.at)
	}
	e.Sentence = fmt.Sprintf("%s: %s.", what, p.allowed(len(f.text), reason))
	return e
}

// allowed is the sentence of a reason, with the limits that hold.
func (p *Parser) allowed(size int, reason metric.Reason) string {
	switch reason {
	case metric.LineTooLong:
		return fmt.Sprintf("it is beyond the %d bytes that a line may have", p.Limits.Line)
	case metric.NameTooLong:
		return fmt.Sprintf("a name, without its tags, may have %d bytes", p.Limits.Name)
	case metric.TagTooLong:
		return fmt.Sprintf("it has %d bytes, and a tag may have %d", size, p.Limits.Tag)
	case metric.TooManyTags:
		return fmt.Sprintf("it is one more than the %d tags that a line may have", p.Limits.Tags)
	}
	s := reason.Sentence()
	if reason == metric.TooOld {
		s += ", which is " + metric.Span(p.maxAge())
	}
	return s
}
