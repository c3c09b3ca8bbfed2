package ingest

import (
	"bytes"

	"cairn/internal/dedupe"
	"cairn/internal/metric"
)

// maxSamples is how many rejected events of an answer show their text: enough to find
// the mistake by.
const maxSamples = 1_000

// Answer is what became of a batch that was taken.
type Answer struct {
	Accepted uint32
	Rejected []RejectedEvent
	// RejectedTotal is how many events were rejected. It is more than are in Rejected
	// only for a duplicate that came long ago.
	RejectedTotal uint32
	Duplicate     bool // it counts already, and this is what was answered then
}

// RejectedEvent is an event of a batch that does not count.
type RejectedEvent struct {
	Line   uint32 // its line, or its number in a list, from 1
	Reason metric.Reason
	Sample string // escaped, cut to 160 bytes
}

// answer tells a verdict about the batch in w.
func (w *work) answer(f format, v *dedupe.Verdict, duplicate bool) Answer {
	a := Answer{Accepted: v.Accepted, RejectedTotal: max(v.RejectedTotal, uint32(len(v.Rejected))), Duplicate: duplicate}
	if len(v.Rejected) == 0 {
		return a
	}
	a.Rejected = make([]RejectedEvent, 0, len(v.Rejected))
	for _, r := range v.Rejected {
		a.Rejected = append(a.Rejected, RejectedEvent{Line: r.Line, Reason: r.Reason})
	}
	w.texts(f, v.Rejected[:min(len(v.Rejected), maxSamples)], func(i int, text []byte) { a.Rejected[i].Sample = cutSample(text) })
	return a
}

// texts gives the texts of rejected events, which are in order.
func (w *work) texts(f format, rejects []dedupe.Reject, visit func(i int, text []byte)) {
	if f == formatJSON {
		w.json.texts(w.body, rejects, visit)
		return
	}
	n, i := uint32(0), 0
	for at := 0; at < len(w.body) && i < len(rejects); {
		stop, next, _ := cutLine(w.body, at, len(w.body))
		if n++; rejects[i].Line == n {
			visit(i, w.body[at:stop])
			i++
		}
		at = next
	}
}

// texts is work.texts for a document of JSON that was read before.
func (j *jsonReader) texts(body []byte, rejects []dedupe.Reject, visit func(i int, text []byte)) {
	j.out = new(parsed)
	defer j.release()
	i := 0
	j.each(formatJSON, body, func(n uint32) error {
		text, err := j.skipEvent()
		if err == nil && i < len(rejects) && rejects[i].Line == n {
			visit(i, text)
			i++
		}
		return err
	})
}

func isFramed(wire []byte) bool { return bytes.HasPrefix(wire, []byte(framedSnappy)) }

// jsonName returns what stands where an event in JSON should have its name.
func jsonName(text []byte) []byte {
	const mark = `"metric"`
	i := bytes.Index(text, []byte(mark))
	if i < 0 {
		return nil
	}
	name := bytes.TrimLeft(text[i+len(mark):], " \t\r\n:\"")
	if i := bytes.IndexAny(name, `",}`); i >= 0 {
		name = name[:i]
	}
	return name[:min(len(name), maxRejectName)]
}
