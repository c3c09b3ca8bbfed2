package ingest

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// build makes events of one event's fields. After a reason there are none.
func (j *jsonReader) build(e *rawEvent, at place) metric.Reason {
	o := j.out
	events, keys := len(o.events), len(o.keys)
	reason := j.buildKey(e, &at)
	if reason == metric.OK && len(o.events) > events {
		o.places = append(o.places, at)
		return metric.OK
	}
	o.events, o.keys = o.events[:events], o.keys[:keys]
	return reason
}

func (j *jsonReader) buildKey(e *rawEvent, at *place) metric.Reason {
	var ok bool
	if e.seen&fieldMetric == 0 || e.metric == nil {
		return metric.EmptyName
	}
	if j.name, ok = appendUnquoted(j.name[:0], e.metric); !ok {
		return metric.BadUTF8
	}
	if reason := j.p.checkLiteral(j.name); reason != metric.OK {
		return reason
	}
	kind, reason := kindNamed(e.kind)
	if reason != metric.OK {
		return reason
	}
	if e.seen&fieldValue != 0 && e.seen&fieldValues != 0 {
		return metric.BadField
	}
	w := agg.Weight{Num: 1, Den: 1}
	if e.rate != nil {
		num, den, ok := rateWeight(e.rate)
		if !ok {
			return metric.BadRate
		}
		if kind != metric.Gauge && kind != metric.Set { // a reading or a member stands for itself
			w = agg.Weight{Num: num, Den: den}
		}
	}
	raw := agg.Raw{}
	if e.time != nil {
		if raw.Sec, reason = j.p.timestamp(e.time, true, j.now); reason != metric.OK {
			return reason
		}
	}
	o := j.out
	at.name = uint32(len(o.keys))
	o.keys = appendClean(o.keys, j.name)
	rest := len(o.keys)
	o.keys = appendStructured(o.keys, kind, w)
	o.keys = j.appendTagset(o.keys)
	if rest-int(at.name) > maxKey || len(o.keys)-rest > maxKey {
		return metric.LineTooLong
	}
	raw.Name, raw.NameLen = at.name, uint16(rest-int(at.name))
	raw.Rest, raw.RestLen = uint32(rest), uint16(len(o.keys)-rest)
	if kind == metric.Gauge && j.p.Dialect == Etsy {
		raw.Op = agg.Assign
	}
	return j.appendValues(raw, kind)
}

func kindNamed(raw []byte) (metric.Kind, metric.Reason) {
	switch string(raw) {
	case "", `"counter"`:
		return metric.Counter, metric.OK
	case `"gauge"`:
		return metric.Gauge, metric.OK
	case `"distribution"`:
		return metric.Distribution, metric.OK
	case `"set"`:
		return metric.Set, metric.OK
	}
	return 0, metric.BadType
}

// appendValues appends an event like e for each value.
func (j *jsonReader) appendValues(e agg.Raw, kind metric.Kind) metric.Reason {
	if len(j.values) == 0 {
		return metric.NoValue
	}
	for _, v := range j.values {
		if kind == metric.Set {
			member := v.raw
			if v.str {
				var ok bool
				if j.member, ok = appendUnquoted(j.member[:0], v.raw); !ok {
					return metric.BadUTF8
				}
				member = j.member
			}
			if len(member) == 0 {
				return metric.NoValue
			}
			e.Bits = bucket.HashMember(member)
		} else {
			x, ok := number(v.raw)
			if !ok || !(x <= metric.MaxValue && x >= -metric.MaxValue) { // a string is no number either
				return metric.BadValue
			}
			e.Bits = math.Float64bits(x)
		}
		j.out.events = append(j.out.events, e)
	}
	return metric.OK
}

// appendTagset appends the metric.Tagset of j.tags.
func (j *jsonReader) appendTagset(dst []byte) []byte {
	if len(j.tags) > 1 {
		slices.SortFunc(j.tags, func(a, b structuredTag) int {
			if c := bytes.Compare(a.key.of(j.text), b.key.of(j.text)); c != 0 {
				return c
			}
			return bytes.Compare(a.value.of(j.text), b.value.of(j.text))
		})
	}
	for i, t := range j.tags {
		key, val := t.key.of(j.text), t.value.of(j.text)
		if i > 0 && bytes.Equal(key, j.tags[i-1].key.of(j.text)) && bytes.Equal(val, j.tags[i-1].value.of(j.text)) {
			continue
		}
		dst = append(binary.AppendUvarint(dst, uint64(len(key))), key...)
		dst = append(binary.AppendUvarint(dst, uint64(len(val))), val...)
	}
	return dst
}

func appendUnquoted(dst, raw []byte) ([]byte, bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		raw = raw[1 : len(raw)-1]
		return append(dst, raw...), utf8.Valid(raw)
	}
	dst, err := jsontext.AppendUnquote(dst, raw)
	return dst, err == nil
}

// checkLiteral checks a name that holds no tags.
func (p *Parser) checkLiteral(name []byte) metric.Reason {
	n, ok := cleanLen(name)
	switch {
	case len(name) == 0:
		return metric.EmptyName
	case !ok:
		return metric.BadName
	case n > p.Limits.Name:
		return metric.NameTooLong
	}
	return metric.OK
}
