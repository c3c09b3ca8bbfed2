package ingest

import (
	"bytes"
	"math"
	"unicode"
	"unicode/utf8"

	"cairn/agg"
	"cairn/internal/metric"
)

// The DogStatsD line, of which plain StatsD is a part:
//
//	name:value[:value...]|type[|@rate][|#tag[:value],...][|T<unix seconds>][|field...]
//
// Fields after the type come in any order; those not named here are ignored, as
// its clients expect of servers older than they are.
// https://docs.datadoghq.com/developers/dogstatsd/datagram_shell

// Parser reads lines: one dialect within limits. It is immutable.
type Parser struct {
	Dialect    Dialect
	Limits     metric.LineLimits
	OriginTags bool // the fields c:, e: and card: become tags
}

// Dialect is what a listener's senders mean where their protocols differ.
type Dialect uint8

const (
	DogStatsD Dialect = iota // the default: a gauge's sign is part of its number
	Etsy                     // +n and -n change a gauge's level by n
	Brubeck                  // C is a counter as well
)

// split appends the events of one line to dst, which lies at buf[at:end]
// without its line end. After an error dst is as it was.
func (p *Parser) split(dst []agg.Raw, buf []byte, at, end int, now metric.UnixSec) ([]agg.Raw, metric.Reason) {
	line := buf[at:end]
	if len(line) > p.Limits.Line {
		return dst, metric.LineTooLong
	}
	colon := bytes.IndexByte(line, ':')
	switch {
	case colon < 0:
		return dst, notAMetric(line, metric.NoValue)
	case colon == 0:
		return dst, metric.EmptyName
	case colon > p.Limits.Name:
		return dst, metric.NameTooLong
	}
	bar := colon + 1
	for bar < len(line) && line[bar] != '|' {
		bar++
	}
	if bar == len(line) {
		return dst, notAMetric(line, metric.NoType)
	}
	rest, sec, reason := cutTimestamp(line[bar+1:], now)
	if reason != metric.OK {
		return dst, reason
	}
	if len(rest) == 0 {
		return dst, metric.NoType
	}
	e := agg.Raw{
		Name: uint32(at), NameLen: uint16(colon), Rest: uint32(at + bar + 1), RestLen: uint16(len(rest)), Sec: sec,
	}
	before := len(dst)
	for values := line[colon+1 : bar]; ; {
		value := values
		more := bytes.IndexByte(values, ':')
		if more >= 0 {
			value = values[:more]
		}
		v, ok := number(value)
		if !ok {
			reason = metric.BadValue
			if len(value) == 0 {
				reason = metric.NoValue
			}
			return dst[:before], notAMetric(line, reason)
		}
		e.Bits = math.Float64bits(v)
		dst = append(dst, e)
		if more < 0 {
			return dst, metric.OK
		}
		values = values[more+1:]
	}
}

// notAMetric tells DogStatsD's events and service checks from broken lines.
func notAMetric(line []byte, reason metric.Reason) metric.Reason {
	if bytes.HasPrefix(line, []byte("_e{")) || bytes.HasPrefix(line, []byte("_sc|")) {
		return metric.UnsupportedKind
	}
	return reason
}

// cutTimestamp takes a T field off the end of a line's fields, where clients
// put it, so that what is left is the same bytes every second.
func cutTimestamp(rest []byte, now metric.UnixSec) ([]byte, metric.UnixSec, metric.Reason) {
	i := len(rest)
	for i > 0 && rest[i-1] >= '0' && rest[i-1] <= '9' {
		i--
	}
	if i == len(rest) || i < 2 || rest[i-1] != 'T' || rest[i-2] != '|' {
		return rest, 0, metric.OK
	}
	sec, reason := timestamp(rest[i:], now)
	return rest[:i-2], sec, reason
}

func timestamp(digits []byte, now metric.UnixSec) (metric.UnixSec, metric.Reason) {
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
	case sec > now+metric.MaxFuture:
		return 0, metric.Future
	case sec < now-metric.MaxAge:
		return 0, metric.TooOld
	}
	return sec, metric.OK
}

// Resolve is the agg.Resolver of this wire format: it reads a name and the
// fields after the value.
func (p *Parser) Resolve(name, rest []byte, now metric.UnixSec) (agg.Resolution, metric.Reason) {
	var res agg.Resolution
	res.Weight = agg.Weight{Num: 1, Den: 1}
	field, rest, more := bytes.Cut(rest, []byte{'|'})
	kind, reason := kindOf(field)
	if reason != metric.OK {
		return res, reason
	}
	var tags []metric.Tag
	rated := false
	for more {
		field, rest, more = bytes.Cut(rest, []byte{'|'})
		if len(field) == 0 {
			continue
		}
		reason = metric.OK
		switch field[0] {
		case '@':
			if rated {
				return res, metric.BadRate
			}
			rated = true
			var ok bool
			if res.Weight.Num, res.Weight.Den, ok = rateWeight(field[1:]); !ok {
				return res, metric.BadRate
			}
		case '#':
			tags, reason = p.appendTags(tags, field[1:])
		case 'T':
			if res.Sec != 0 {
				return res, metric.BadTimestamp
			}
			res.Sec, reason = timestamp(field[1:], now)
		}
		if reason != metric.OK {
			return res, reason
		}
	}
	clean, reason := cleanName(name)
	if reason != metric.OK {
		return res, reason
	}
	res.Series = metric.Series{ID: metric.ID{Name: clean, Kind: kind}, Tags: metric.NewTagset(tags)}
	return res, metric.OK
}

func kindOf(field []byte) (metric.Kind, metric.Reason) {
	switch string(field) {
	case "c":
		return metric.Counter, metric.OK
	case "g", "ms", "h", "d", "s", "m":
		return 0, metric.UnsupportedKind
	case "":
		return 0, metric.NoType
	}
	return 0, metric.BadType
}

// cleanName makes a name canonical: '/' becomes '-' and white space '_', as in
// etsy's StatsD.
func cleanName(b []byte) (string, metric.Reason) {
	if !utf8.Valid(b) {
		return "", metric.BadUTF8
	}
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		switch {
		case r == '/':
			out = append(out, '-')
		case unicode.IsSpace(r):
			out = append(out, '_')
		case unicode.IsControl(r):
			return "", metric.BadName
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out), metric.OK
}

// appendTags reads a comma-separated list of tags.
func (p *Parser) appendTags(dst []metric.Tag, list []byte) ([]metric.Tag, metric.Reason) {
	for more := true; more; {
		var tag []byte
		tag, list, more = bytes.Cut(list, []byte{','})
		tag = bytes.TrimPrefix(tag, []byte{'#'}) // some clients write #a:1,#b:2
		if len(tag) == 0 {
			continue
		}
		switch {
		case len(tag) > p.Limits.Tag:
			return dst, metric.TagTooLong
		case len(dst) >= p.Limits.Tags:
			return dst, metric.TooManyTags
		case !utf8.Valid(tag):
			return dst, metric.BadUTF8
		case bytes.ContainsFunc(tag, unicode.IsControl):
			return dst, metric.BadTag
		}
		key, value, _ := bytes.Cut(tag, []byte{':'})
		if len(key) == 0 {
			return dst, metric.BadTag
		}
		dst = append(dst, metric.Tag{Key: string(key), Value: string(value)})
	}
	return dst, metric.OK
}
