package ingest

import (
	"bytes"
	"math"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// The DogStatsD line, of which plain StatsD is a part:
//
//	name:value[:value...]|type[|@rate][|#tag[:value],...][|T<unix seconds>][|field...]
//
// Fields after the type come in any order; those not named here are ignored, as
// its clients expect of servers older than they are. The value of a set is a
// member: any bytes but '|', so that it is never packed.
// https://docs.datadoghq.com/developers/dogstatsd/datagram_shell
//
// Etsy's StatsD packs whole values, each with a type and at most a rate of its
// own; a ':' in the type or in the rate right after it tells such a line from
// the one above, whose tags and container id hold a ':' too. No other field may
// stand in it: which value it belongs to would be a guess.
//
//	name:value|type[|@rate][:value|type[|@rate]...]
//
// https://github.com/statsd/statsd/blob/master/docs/metric_types.md
//
// A name may carry tags (statsd_name.go).

// Parser reads lines: one dialect within limits. It is immutable.
type Parser struct {
	Dialect    Dialect
	Limits     metric.LineLimits
	OriginTags bool // the fields c:, e: and card: become tags
	// MaxAge is how many seconds old a timestamp may be: how long the longest retention
	// is. 0: metric.MaxAge.
	MaxAge int64
}

// Dialect is what a listener's senders mean where their protocols differ.
type Dialect uint8

const (
	DogStatsD   Dialect = iota // the default: a gauge's sign is part of its number
	Etsy                       // +n and -n change a gauge's level by n
	Brubeck                    // C is a counter as well
	numDialects                // how many there are
)

// String returns the name that settings and the API use.
func (d Dialect) String() string {
	return [...]string{DogStatsD: "dogstatsd", Etsy: "etsy", Brubeck: "brubeck"}[d]
}

// split appends the events of one line to dst, which lies at buf[at:end]
// without its line end. After an error dst is as it was. ignored says that the
// line ends with a timestamp that means nothing for its kind.
func (p *Parser) split(dst []agg.Raw, buf []byte, at, end int, now metric.UnixSec) (events []agg.Raw, ignored bool, reason metric.Reason) {
	line := buf[at:end]
	if len(line) > p.Limits.Line {
		return dst, false, metric.LineTooLong
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		if colon < 0 {
			return dst, false, metric.NoValue
		}
		return dst, false, metric.EmptyName
	}
	i := bytes.IndexByte(line[colon+1:], '|')
	if i < 0 {
		return dst, false, metric.NoType
	}
	bar := colon + 1 + i
	rest := line[bar+1:]
	typeEnd, segmentEnd := segment(rest)
	if segmentEnd < len(rest) && rest[segmentEnd] == ':' {
		events, reason = p.splitMulti(dst, buf, at, colon, end)
		return events, false, reason
	}
	kind := rest[:typeEnd]
	rest, sec, ignored, reason := p.cutTimestamp(kind, rest, now)
	switch {
	case reason != metric.OK:
		return dst, false, reason
	case len(kind) == 0:
		return dst, false, metric.NoType
	case kind[0] == structuredMark:
		return dst, false, metric.BadType // Resolve would not take it for a line's
	}
	e := agg.Raw{
		Name: uint32(at), NameLen: uint16(colon), Rest: uint32(at + bar + 1), RestLen: uint16(len(rest)), Sec: sec,
	}
	events, reason = p.appendValues(dst, e, line[colon+1:bar], kind)
	return events, ignored && reason == metric.OK, reason
}

// splitMulti is split for a line of several values with types of their own. It
// checks all that Resolve would, so that the line is rejected as one.
func (p *Parser) splitMulti(dst []agg.Raw, buf []byte, at, colon, end int) ([]agg.Raw, metric.Reason) {
	line := buf[at:end]
	if reason := p.checkName(line[:colon]); reason != metric.OK {
		return dst, reason
	}
	before := len(dst)
	for start := colon + 1; ; {
		i := bytes.IndexByte(line[start:], '|')
		if i < 0 {
			return dst[:before], metric.NoType
		}
		bar := start + i
		rest := line[bar+1:]
		typeEnd, segmentEnd := segment(rest)
		kind := rest[:typeEnd]
		reason := p.checkSegment(kind, rest, segmentEnd)
		if reason == metric.OK {
			e := agg.Raw{Name: uint32(at), NameLen: uint16(colon), Rest: uint32(at + bar + 1), RestLen: uint16(segmentEnd)}
			dst, reason = p.appendValues(dst, e, line[start:bar], kind)
		}
		if reason != metric.OK {
			return dst[:before], reason
		}
		if segmentEnd == len(rest) {
			return dst, metric.OK
		}
		start = bar + 1 + segmentEnd + 1
	}
}

// segment finds the end of a type, and that of the rate right after it. What
// follows is ':' and another value, '|' and another field, or nothing.
func segment(rest []byte) (typeEnd, end int) {
	for typeEnd < len(rest) && rest[typeEnd] != '|' && rest[typeEnd] != ':' {
		typeEnd++
	}
	end = typeEnd
	if end+1 < len(rest) && rest[end] == '|' && rest[end+1] == '@' {
		for end += 2; end < len(rest) && rest[end] != '|' && rest[end] != ':'; {
			end++
		}
	}
	return typeEnd, end
}

func (p *Parser) checkSegment(kind, rest []byte, end int) metric.Reason {
	if end+1 < len(rest) && rest[end] == '|' && rest[end+1] == '#' {
		return metric.MixedTags
	}
	if _, reason := p.kindOf(kind); reason != metric.OK {
		return reason
	}
	if len(kind) < end {
		if _, _, ok := rateWeight(rest[len(kind)+2 : end]); !ok {
			return metric.BadRate
		}
	}
	if end < len(rest) && rest[end] == '|' {
		if end+1 < len(rest) && rest[end+1] == '@' {
			return metric.BadRate // a second one
		}
		return metric.BadType
	}
	return metric.OK
}

// appendValues appends one event like e for each of the values. After an error
// some may have been appended already.
func (p *Parser) appendValues(dst []agg.Raw, e agg.Raw, values, kind []byte) ([]agg.Raw, metric.Reason) {
	if string(kind) == "s" {
		if len(values) == 0 {
			return dst, metric.NoValue
		}
		e.Bits = bucket.HashMember(values)
		return append(dst, e), metric.OK
	}
	before := len(dst)
	for more := true; more; {
		value := values
		if i := bytes.IndexByte(values, ':'); i >= 0 {
			value, values = values[:i], values[i+1:]
		} else {
			more = false
		}
		if len(value) == 0 {
			return dst[:before], metric.NoValue
		}
		v, ok := number(value)
		if !ok || !(v <= metric.MaxValue && v >= -metric.MaxValue) {
			return dst[:before], metric.BadValue
		}
		if e.Bits = math.Float64bits(v); p.Dialect == Etsy {
			e.Op = agg.Assign
			if value[0] == '+' || value[0] == '-' {
				e.Op = agg.Adjust
			}
		}
		dst = append(dst, e)
	}
	return dst, metric.OK
}

// stampAt returns where the T field at the end of rest begins, or -1.
func stampAt(rest []byte) int {
	i := len(rest)
	for i > 0 && rest[i-1]-'0' <= 9 {
		i--
	}
	if i == len(rest) || i < 2 || rest[i-1] != 'T' || rest[i-2] != '|' {
		return -1
	}
	return i - 1
}

// cutTimestamp takes a T field off the end of a line's fields, where clients
// put it, so that what is left is the same bytes every second.
func (p *Parser) cutTimestamp(kind, rest []byte, now metric.UnixSec) (left []byte, sec metric.UnixSec, ignored bool, reason metric.Reason) {
	i := stampAt(rest)
	if i < 0 {
		return rest, 0, false, metric.OK
	}
	left = rest[:i-1]
	if bytes.Contains(left, []byte("|T")) {
		return rest, 0, false, metric.BadTimestamp // given twice
	}
	k, _ := p.kindOf(kind)
	sec, reason = p.timestamp(rest[i+1:], timed(k), now)
	return left, sec, sec == 0, reason
}

// timed reports whether a timestamp means something for a kind.
func timed(k metric.Kind) bool { return k == metric.Counter || k == metric.Gauge }

// timestamp reads the digits of a T field. If it is not timed, they are only
// checked, and the result is 0.
func (p *Parser) timestamp(digits []byte, timed bool, now metric.UnixSec) (metric.UnixSec, metric.Reason) {
	if len(digits) == 0 || len(digits) > 18 {
		return 0, metric.BadTimestamp
	}
	var sec metric.UnixSec
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, metric.BadTimestamp
		}
		sec = sec*10 + metric.UnixSec(c-'0')
	}
	switch {
	case sec == 0:
		return 0, metric.BadTimestamp
	case !timed:
		return 0, metric.OK
	case sec > now+metric.MaxFuture:
		return 0, metric.Future
	case sec < now-metric.UnixSec(p.maxAge()):
		return 0, metric.TooOld
	}
	return sec, metric.OK
}

func (p *Parser) maxAge() int64 {
	if p.MaxAge == 0 {
		return metric.MaxAge
	}
	return p.MaxAge
}
