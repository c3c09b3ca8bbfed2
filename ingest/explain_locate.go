package ingest

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"cairn/internal/metric"
)

// piece is a part of a line: what it is, where it begins, and its bytes.
type piece struct {
	role string
	at   int
	text string
}

// Roles of pieces, as sentences call them.
const (
	aName  = "name"
	aValue = "value"
	aType  = "type"
	aRate  = "sample rate"
	aTime  = "timestamp"
	aTag   = "tag"
	aPair  = "tag in the name"
	aList  = "list of tags"
	aField = "field"
	aLine  = "line"
	aByte  = "byte"
)

// locate finds the piece of a line for which it was turned away. It is slow, and
// asks each piece anew.
func (p *Parser) locate(line string, reason metric.Reason, now metric.UnixSec) piece {
	if reason == metric.LineTooLong {
		return piece{aLine, p.Limits.Line, line[p.Limits.Line:]}
	}
	if isAnnotation([]byte(line)) {
		return p.locateNote(line, reason, now)
	}
	colon := strings.IndexByte(line, ':')
	if colon < 0 {
		return piece{aValue, len(line), ""}
	}
	name := cutName([]byte(line[:colon]))
	switch bar := strings.IndexByte(line, '|'); {
	case reason == metric.NoValue && bar >= 0 && bar < colon:
		return piece{aValue, bar, ""}
	case reason == metric.BadTag && (name.open || bytes.ContainsAny(name.post, nameMarks)):
		return piece{aList, len(name.pre), line[len(name.pre):colon]}
	}
	pieces := dissect(line, colon)
	seen, tags := map[string]int{}, 0
	for _, x := range pieces {
		seen[x.role]++
		if x.role == aTag || x.role == aPair {
			tags++
		}
		switch reason {
		case metric.TooManyTags:
			if tags > p.Limits.Tags {
				return x
			}
			continue
		case metric.MixedTags:
			if x.role == aList {
				return x
			}
			continue
		case metric.BadRate:
			if x.role == aType {
				seen[aRate] = 0 // each type has its own
			}
		}
		if p.isFault(x, seen[x.role], reason, now) {
			return x
		}
	}
	return piece{aLine, 0, line} // only a value that its rate makes too large is left
}

// isFault reports whether x, the nth of its role, is one of the pieces that a
// reason is about.
func (p *Parser) isFault(x piece, nth int, reason metric.Reason, now metric.UnixSec) bool {
	b := []byte(x.text)
	switch reason {
	case metric.NoValue:
		return x.role == aValue && x.text == ""
	case metric.NoType:
		return x.role == aType && x.text == ""
	case metric.EmptyName:
		return x.role == aName && x.text == ""
	case metric.BadName:
		_, ok := cleanLen(b)
		return x.role == aName && !ok
	case metric.NameTooLong:
		return x.role == aName
	case metric.BadUTF8:
		return (x.role == aName || x.role == aTag || x.role == aPair) && !utf8.ValidString(x.text)
	case metric.BadValue:
		v, ok := number(b)
		return x.role == aValue && x.text != "" && (!ok || v > metric.MaxValue || v < -metric.MaxValue)
	case metric.BadType:
		_, bad := p.kindOf(b)
		return x.role == aType && bad != metric.OK || x.role == aField || x.role == aTime
	case metric.BadRate:
		_, _, ok := rateWeight(b)
		return x.role == aRate && (!ok || nth > 1)
	case metric.BadTimestamp, metric.Future, metric.TooOld:
		_, bad := p.timestamp(b, true, now)
		return x.role == aTime && (bad == reason || reason == metric.BadTimestamp && nth > 1)
	case metric.TagTooLong:
		return (x.role == aTag || x.role == aPair) && len(x.text) > p.Limits.Tag
	case metric.BadTag:
		key := strings.IndexByte(x.text, '=')
		return x.role == aPair && (key <= 0 || strings.ContainsFunc(x.text, unicode.IsControl)) ||
			x.role == aTag && (x.text[0] == ':' || strings.ContainsFunc(x.text, unicode.IsControl))
	}
	return false
}

// dissect cuts a line into its pieces, in order.
func dissect(line string, colon int) []piece {
	out := dissectName(line[:colon])
	start := colon + 1
	for {
		bar := strings.IndexByte(line[start:], '|')
		if bar < 0 {
			// What stands here has no type.
			return append(out, piece{aType, len(line), ""})
		}
		bar += start
		rest := line[bar+1:]
		typeEnd, end := segment([]byte(rest))
		more := end < len(rest) && rest[end] == ':'
		kind := rest[:typeEnd]
		if kind == "s" {
			out = append(out, piece{aValue, start, line[start:bar]})
		} else {
			out = appendParts(out, aValue, line, start, bar, ':')
		}
		out = append(out, piece{aType, bar + 1, kind})
		if !more {
			return dissectFields(out, line, bar+1+typeEnd)
		}
		if typeEnd < end {
			out = append(out, piece{aRate, bar + 1 + typeEnd + 2, rest[typeEnd+2 : end]})
		}
		start = bar + 1 + end + 1
	}
}

// appendParts cuts line[at:end] at each sep.
func appendParts(out []piece, role, line string, at, end int, sep byte) []piece {
	for {
		i := strings.IndexByte(line[at:end], sep)
		if i < 0 {
			return append(out, piece{role, at, line[at:end]})
		}
		out = append(out, piece{role, at, line[at : at+i]})
		at += i + 1
	}
}

func dissectName(name string) []piece {
	parts := cutName([]byte(name))
	out := []piece{{aName, 0, string(parts.pre)}}
	if parts.sep == 0 {
		return out
	}
	if end := len(name) - len(parts.post); end < len(name) {
		if len(parts.pre) == 0 {
			out = nil
		}
		out = append(out, piece{aName, end, name[end:]})
	}
	at := len(parts.pre) + 1
	return appendParts(out, aPair, name, at, at+len(parts.list), parts.sep)
}

func dissectFields(out []piece, line string, at int) []piece {
	for at < len(line) { // line[at] is the '|' before a field
		end := len(line)
		if i := strings.IndexByte(line[at+1:], '|'); i >= 0 {
			end = at + 1 + i
		}
		field := line[at+1 : end]
		switch {
		case field == "":
		case field[0] == '@':
			out = append(out, piece{aRate, at + 2, field[1:]})
		case field[0] == 'T':
			out = append(out, piece{aTime, at + 2, field[1:]})
		case field[0] == '#':
			out = append(out, piece{aList, at + 1, field})
			for _, t := range appendParts(nil, aTag, line, at+2, end, ',') {
				if cut := strings.TrimPrefix(t.text, "#"); cut != "" {
					out = append(out, piece{aTag, t.at + len(t.text) - len(cut), cut})
				}
			}
		default:
			out = append(out, piece{aField, at + 1, field})
		}
		at = end
	}
	return out
}

// locateNote is locate for events and service checks.
func (p *Parser) locateNote(line string, reason metric.Reason, now metric.UnixSec) piece {
	for i, r := range line {
		_, size := utf8.DecodeRuneInString(line[i:])
		switch {
		case reason == metric.BadUTF8 && r == utf8.RuneError && size == 1,
			reason == metric.BadAnnotation && unicode.IsControl(r):
			return piece{aByte, i, line[i : i+size]}
		}
	}
	tags := 0
	for _, x := range dissectFields(nil, line, max(strings.IndexByte(line, '|'), 0)) {
		mark, value, _ := strings.Cut(x.text, ":")
		_, bad := p.timestamp([]byte(value), true, now)
		if x.role == aField && mark == "d" && bad == reason {
			return piece{aTime, x.at + 2, value}
		}
		if x.role == aTag {
			tags++
		}
		if x.role == aTag && (p.isFault(x, 1, reason, now) || reason == metric.TooManyTags && tags > p.Limits.Tags) {
			return x
		}
	}
	return piece{aLine, 0, line}
}
