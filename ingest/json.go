package ingest

import (
	"bytes"
	"errors"
	"io"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"cairn/internal/metric"
)

// Batches in JSON. A document is one of
//
//	{"events":[EVENT,...]}
//	[EVENT,...]
//
// and as newline-delimited JSON each line is an EVENT, or empty. An EVENT is
//
//	{"metric":"signups","kind":"counter","value":1,"tags":{"env":"prod"},"time":1700000000,"rate":0.5}
//
// metric is the name as it is, without tags in it. kind is counter if it is not
// there; else gauge, distribution or set. value is a number, of a set a string or a
// number; values, in its place, is a list of them. A tag is a string, or a number,
// true or false as it is written, or a list of these: several values of one key. time
// is in Unix seconds. Any of them may be null, which is as if it was not there.
// A name that is there twice among tags has both values.

// field is one of an event's fields.
type field uint8

const (
	fieldMetric field = 1 << iota
	fieldKind
	fieldValue
	fieldValues
	fieldTags
	fieldTime
	fieldRate
)

func fieldOf(name []byte) field {
	switch string(name) {
	case "metric":
		return fieldMetric
	case "kind":
		return fieldKind
	case "value":
		return fieldValue
	case "values":
		return fieldValues
	case "tags":
		return fieldTags
	case "time":
		return fieldTime
	case "rate":
		return fieldRate
	}
	return 0
}

// jsonReader reads JSON into a parsed. It is used again for the next batch.
type jsonReader struct {
	dec     jsontext.Decoder
	src     bytes.Buffer
	opts    []jsontext.Options
	body    []byte // what is read
	base    int    // where the text that dec reads begins in body
	p       *Parser
	now     metric.UnixSec
	out     *parsed
	refused *Refusal // why reading ended in the middle of an event, for want of memory
	values  []value
	tags    []structuredTag
	text    []byte // of tags, without escapes
	name    []byte
	member  []byte
}

// value is a number, or a string with its quotes, in the body.
type value struct {
	raw []byte
	str bool
}

// valueSize is what a value takes until it is an event.
const valueSize = int(unsafe.Sizeof(value{}))

// structuredTag is a tag whose key and value lie in a text.
type structuredTag struct{ key, value span }

type span struct{ at, end uint32 }

func (s span) of(text []byte) []byte { return text[s.at:s.end] }

func newJSONReader() *jsonReader {
	// Names given twice are found here, and texts that are not UTF-8 too: each of
	// them is a mistake of one event, and not of the batch.
	return &jsonReader{opts: []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}}
}

// fits reports whether j is small enough to be kept for the next batch.
func (j *jsonReader) fits() bool {
	return cap(j.text)+cap(j.name)+cap(j.member)+32*cap(j.values)+16*cap(j.tags) <= maxKept
}

// release lets go of the body.
func (j *jsonReader) release() {
	j.body, j.p, j.out, j.refused = nil, nil, nil, nil
	j.src = bytes.Buffer{}
	clear(j.values[:cap(j.values)])
	j.dec.Reset(&j.src, j.opts...)
}

// read reads a batch into out. f is formatJSON or formatNDJSON.
func (j *jsonReader) read(out *parsed, p *Parser, f format, body []byte, now metric.UnixSec) *Refusal {
	j.out, j.p, j.now, j.body = out, p, now, body
	defer j.release()
	r := j.each(f, body, j.event)
	out.buf = out.keys
	if r != nil {
		return r
	}
	return out.tooMany()
}

// each calls event for each event of a batch, with its number from 1. After event
// the decoder is behind it; if event returns an error, the JSON is broken.
func (j *jsonReader) each(f format, body []byte, event func(n uint32) error) *Refusal {
	if f == formatNDJSON {
		return j.eachLine(body, event)
	}
	j.start(body, 0, len(body))
	inside := false
	switch j.dec.PeekKind() {
	case '[':
	case '{':
		inside = true
		if _, err := j.dec.ReadToken(); err != nil {
			return j.broken(err)
		}
		if j.dec.PeekKind() == '}' {
			return notEvents()
		}
		name, err := j.dec.ReadValue()
		if err != nil {
			return j.broken(err)
		}
		if string(name) != `"events"` || j.dec.PeekKind() != '[' {
			return notEvents()
		}
	default:
		if _, err := j.dec.ReadToken(); err != nil {
			return j.broken(err)
		}
		return notEvents()
	}
	if _, err := j.dec.ReadToken(); err != nil {
		return j.broken(err)
	}
	for n := uint32(1); j.dec.PeekKind() != ']'; n++ {
		if err := event(n); err != nil {
			return j.broken(err)
		}
		if r := j.room(); r != nil {
			return r
		}
	}
	if _, err := j.dec.ReadToken(); err != nil {
		return j.broken(err)
	}
	if inside {
		if k := j.dec.PeekKind(); k == '"' {
			return refuse(statusBad, `the body has a field beside "events" at offset %d; it must be {"events":[…]} or a list of events`, j.dec.InputOffset())
		}
		if _, err := j.dec.ReadToken(); err != nil {
			return j.broken(err)
		}
	}
	if _, err := j.dec.ReadToken(); err != io.EOF {
		return refuse(statusBad, "the body goes on after its JSON at offset %d", j.dec.InputOffset())
	}
	return nil
}

func (j *jsonReader) eachLine(body []byte, event func(n uint32) error) *Refusal {
	n := uint32(0)
	for at := 0; at < len(body); {
		stop, next, _ := cutLine(body, at, len(body))
		n++
		if len(bytes.TrimLeft(body[at:stop], " \t\r")) > 0 {
			j.start(body, at, stop)
			events, places, keys, rejects := len(j.out.events), len(j.out.places), len(j.out.keys), len(j.out.rejects)
			err := event(n)
			if err == nil {
				if _, e := j.dec.ReadToken(); e != io.EOF {
					err = errNotOne
				}
			}
			if err == errRefused {
				return j.refused
			}
			if err != nil {
				o := j.out
				o.events, o.places, o.keys, o.rejects = o.events[:events], o.places[:places], o.keys[:keys], o.rejects[:rejects]
				o.reject(n, metric.BadJSON)
			}
			if r := j.room(); r != nil {
				return r
			}
		}
		at = next
	}
	return nil
}

func notEvents() *Refusal {
	return refuse(statusBad, `the body must be {"events":[…]} or a list of events`)
}

var (
	errNotOne  = errors.New("a line goes on after its JSON")
	errRefused = errors.New("no memory for more values") // jsonReader.refused says more
)

// room refuses what does not fit into one batch, or into the memory for batches.
func (j *jsonReader) room() *Refusal {
	if r := j.out.tooMany(); r != nil {
		return r
	}
	return j.out.charge(chargeStep, 0)
}

// start makes the decoder read body[at:end].
func (j *jsonReader) start(body []byte, at, end int) {
	j.base, j.body = at, body
	j.src = *bytes.NewBuffer(body[at:end:end])
	j.dec.Reset(&j.src, j.opts...)
}

func (j *jsonReader) broken(err error) *Refusal {
	if err == errRefused {
		return j.refused
	}
	at, why := j.dec.InputOffset(), err
	var s *jsontext.SyntacticError
	if errors.As(err, &s) {
		at, why = s.ByteOffset, s.Err
	}
	if errors.Is(why, io.ErrUnexpectedEOF) || errors.Is(why, io.EOF) {
		return refuse(statusBad, "the body ends in the middle of its JSON, at offset %d", len(j.body))
	}
	return refuse(statusBad, "the body is not JSON: at offset %d: %s", at, cutSample(why.Error()))
}

// raw reads a value, and returns it as it stands in the body.
func (j *jsonReader) raw() ([]byte, error) {
	v, err := j.dec.ReadValue()
	end := j.base + int(j.dec.InputOffset())
	return j.body[end-len(v) : end], err
}

// begin returns where the next value begins in the body.
func (j *jsonReader) begin() uint32 {
	at := j.base + int(j.dec.InputOffset())
	for at < len(j.body) && (j.body[at] == ',' || j.body[at] <= ' ') {
		at++
	}
	return uint32(at)
}

// skipEvent passes over an event, and returns its text.
func (j *jsonReader) skipEvent() ([]byte, error) {
	at := j.begin()
	if err := j.dec.SkipValue(); err != nil {
		return nil, err
	}
	return j.body[at : j.base+int(j.dec.InputOffset())], nil
}

// rawEvent is an event whose fields are still as they were sent.
type rawEvent struct {
	seen         field
	metric, kind []byte
	time, rate   []byte
}

func (j *jsonReader) event(n uint32) error {
	at := j.begin()
	if j.dec.PeekKind() != '{' {
		if err := j.dec.SkipValue(); err != nil {
			return err
		}
		j.out.reject(n, metric.BadField)
		return nil
	}
	if _, err := j.dec.ReadToken(); err != nil {
		return err
	}
	var e rawEvent
	j.values, j.tags, j.text = j.values[:0], j.tags[:0], j.text[:0]
	reason := metric.OK
	for j.dec.PeekKind() != '}' {
		r, err := j.field(&e)
		if err != nil {
			return err
		}
		if reason == metric.OK {
			reason = r
		}
	}
	if _, err := j.dec.ReadToken(); err != nil {
		return err
	}
	if reason == metric.OK {
		reason = j.build(&e, place{line: n, at: at, end: uint32(j.base + int(j.dec.InputOffset()))})
	}
	if reason != metric.OK {
		j.out.reject(n, reason)
	}
	return nil
}

// field reads a field of an event.
func (j *jsonReader) field(e *rawEvent) (metric.Reason, error) {
	name, err := j.raw()
	if err != nil {
		return 0, err
	}
	f := fieldOf(name[1 : len(name)-1])
	kind := j.dec.PeekKind()
	if kind == 'n' && f != 0 {
		return metric.OK, j.dec.SkipValue()
	}
	if f == 0 || e.seen&f != 0 || !f.takes(kind) {
		return metric.BadField, j.dec.SkipValue()
	}
	e.seen |= f
	switch f {
	case fieldTags:
		return j.readTags()
	case fieldValues:
		return j.readValues()
	}
	v, err := j.raw()
	switch f {
	case fieldMetric:
		e.metric = v
	case fieldKind:
		e.kind = v
	case fieldTime:
		e.time = v
	case fieldRate:
		e.rate = v
	case fieldValue:
		j.values = append(j.values, value{v, kind == '"'})
	}
	return metric.OK, err
}

// takes reports whether a field may be of a type of JSON.
func (f field) takes(k jsontext.Kind) bool {
	switch f {
	case fieldMetric, fieldKind:
		return k == '"'
	case fieldValue:
		return k == '"' || k == '0'
	case fieldValues:
		return k == '['
	case fieldTags:
		return k == '{'
	}
	return k == '0'
}

func (j *jsonReader) readValues() (metric.Reason, error) {
	if _, err := j.dec.ReadToken(); err != nil {
		return 0, err
	}
	reason := metric.OK
	for j.dec.PeekKind() != ']' {
		k := j.dec.PeekKind()
		v, err := j.raw()
		if err != nil {
			return 0, err
		}
		if k != '"' && k != '0' {
			reason = metric.BadField
		} else if len(j.values) <= maxBatchEvents { // one more is refused later
			j.values = append(j.values, value{v, k == '"'})
			if j.refused = j.out.charge(chargeStep, len(j.values)*(valueSize+rawSize)); j.refused != nil {
				return 0, errRefused
			}
		}
	}
	_, err := j.dec.ReadToken()
	return reason, err
}

func (j *jsonReader) readTags() (reason metric.Reason, err error) {
	if _, err := j.dec.ReadToken(); err != nil {
		return 0, err
	}
	for j.dec.PeekKind() != '}' {
		raw, err := j.raw()
		if err != nil {
			return 0, err
		}
		key, ok := j.unquote(raw)
		if !ok && reason == metric.OK {
			reason = metric.BadUTF8
		}
		list := j.dec.PeekKind() == '['
		if list {
			if _, err := j.dec.ReadToken(); err != nil {
				return 0, err
			}
		}
		for !list || j.dec.PeekKind() != ']' {
			r, err := j.readTag(key)
			if err != nil {
				return 0, err
			}
			if reason == metric.OK {
				reason = r
			}
			if !list {
				break
			}
		}
		if list {
			if _, err := j.dec.ReadToken(); err != nil {
				return 0, err
			}
		}
	}
	_, err = j.dec.ReadToken()
	return reason, err
}

// readTag reads one value of a tag.
func (j *jsonReader) readTag(key span) (metric.Reason, error) {
	k := j.dec.PeekKind()
	raw, err := j.raw()
	if err != nil {
		return 0, err
	}
	var val span
	switch k {
	case '"':
		var ok bool
		if val, ok = j.unquote(raw); !ok {
			return metric.BadUTF8, nil
		}
	case '0', 't', 'f':
		val.at = uint32(len(j.text))
		j.text = append(j.text, raw...)
		val.end = uint32(len(j.text))
	default:
		return metric.BadField, nil
	}
	if len(j.tags) >= j.p.Limits.Tags {
		return metric.TooManyTags, nil
	}
	j.tags = append(j.tags, structuredTag{key, val})
	return j.checkTag(key.of(j.text), val.of(j.text)), nil
}

func (j *jsonReader) checkTag(key, val []byte) metric.Reason {
	size := len(key)
	if len(val) > 0 {
		size += 1 + len(val)
	}
	if len(key) == 0 {
		return metric.BadTag
	}
	if reason := j.p.checkTag(size, key); reason != metric.OK {
		return reason
	}
	return j.p.checkTag(size, val)
}

// unquote appends what a string says to j.text; ok is false if it is not UTF-8.
func (j *jsonReader) unquote(raw []byte) (s span, ok bool) {
	s.at = uint32(len(j.text))
	j.text, ok = appendUnquoted(j.text, raw)
	s.end = uint32(len(j.text))
	return s, ok
}
