package ingest

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/bits"

	"cairn/agg"
)

// splitPlain reads the line that begins at buf[at], in one pass, if it is one of
// those that nearly all are: one whole number without a sign, of a type of one
// letter, without a rate or a timestamp. Then e is its event, as split would have
// it, and stop is where its line end is, or end. If ok is false nothing is known
// of the line, and e may hold anything.
func (p *Parser) splitPlain(e *agg.Raw, buf []byte, at, end int) (stop int, ok bool) {
	buf = buf[:end]
	colon := findColon(buf, at)
	// An annotation, no name, or no room for the shortest value and type.
	if colon <= at || colon+3 >= len(buf) || buf[at] == '_' {
		return 0, false
	}
	whole, bar := uint64(buf[colon+1]-'0'), colon+2
	if whole > 9 {
		return 0, false
	}
	for ; bar < len(buf); bar++ {
		d := buf[bar] - '0'
		if d > 9 {
			break
		}
		whole = whole*10 + uint64(d)
	}
	if bar-colon > 16 || bar+1 >= len(buf) || buf[bar] != '|' {
		return 0, false
	}
	switch rest := bar + 1; {
	case buf[rest] <= '\r' || buf[rest] == 's' || buf[rest] == '|' || buf[rest] == ':':
		return 0, false // no type, a set, or a line end
	case rest+1 == len(buf) || buf[rest+1] == '\n':
		stop = rest + 1
	case buf[rest+1] != '|' || rest+2 < len(buf) && buf[rest+2] == '@':
		return 0, false
	default:
		if stop = plainEnd(buf, rest); stop < 0 {
			return 0, false
		}
	}
	if stop-at > p.Limits.Line {
		return 0, false
	}
	e.Bits, e.Sec, e.Op = math.Float64bits(float64(whole)), 0, agg.Reading
	e.Name, e.NameLen = uint32(at), uint16(colon-at)
	e.Rest, e.RestLen = uint32(bar+1), uint16(stop-bar-1)
	if p.Dialect == Etsy {
		e.Op = agg.Assign
	}
	return stop, true
}

// plainEnd returns where the line ends whose type and fields begin at rest; -1 if
// they end with a timestamp or a carriage return.
func plainEnd(buf []byte, rest int) int {
	stop := len(buf)
	if i := bytes.IndexByte(buf[rest:], '\n'); i >= 0 {
		stop = rest + i
	}
	if last := buf[stop-1]; last == '\r' || last-'0' <= 9 && stampAt(buf[rest:stop]) >= 0 {
		return -1
	}
	return stop
}

// findColon returns where the first ':' of buf from at on is, or -1 if a line end
// or, now and then, something else comes before it. It looks at 8 bytes at a time.
func findColon(buf []byte, at int) int {
	const low, high = 0x0101010101010101, 0x8080808080808080
	for ; at+8 <= len(buf); at += 8 {
		// ':' is 3A and '\n' is 0A: without two bits they are the same byte, and
		// become 0. The lowest byte whose high bit is set then is the first that
		// was 0 (Mycroft 1987).
		x := binary.LittleEndian.Uint64(buf[at:])&^(0x30*low) ^ '\n'*low
		if hit := (x - low) &^ x & high; hit != 0 {
			if at += bits.TrailingZeros64(hit) / 8; buf[at] == ':' {
				return at
			}
			return -1
		}
	}
	for ; at < len(buf) && buf[at] != '\n'; at++ {
		if buf[at] == ':' {
			return at
		}
	}
	return -1
}
