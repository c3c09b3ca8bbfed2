package ingest

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"cairn/internal/metric"
)

// Tags in the name, as StatsD's descendants write them. The first of the bytes
// , ; # [ says which it is; a ':' ends the name, so that no tag holds one.
//
//	name,k=v,k2=v2     InfluxDB
//	name;k=v;k2=v2     Graphite
//	name#k=v,k2=v2     Librato
//	pre[k=v,k2=v2]post SignalFX; the name is prepost
//
// Facts: https://github.com/prometheus/statsd_exporter#tagging-extensions

// nameMarks are the bytes of which the first begins the tags.
const nameMarks = ",;#["

// nameParts is a name as its line has it, cut at its tags.
type nameParts struct {
	pre, list, post []byte
	sep             byte // between the tags in list; 0: there are none
	open            bool // a '[' without its ']'
}

func cutName(name []byte) nameParts {
	i := bytes.IndexAny(name, nameMarks)
	if i < 0 {
		return nameParts{pre: name}
	}
	p := nameParts{pre: name[:i], list: name[i+1:], sep: ','}
	switch name[i] {
	case ';':
		p.sep = ';'
	case '[':
		var closed bool
		p.list, p.post, closed = bytes.Cut(p.list, []byte{']'})
		p.open = !closed
	}
	return p
}

// count returns how many tags there are.
func (p nameParts) count() int {
	if p.sep == 0 {
		return 0
	}
	return 1 + bytes.Count(p.list, []byte{p.sep})
}

// appendTags appends the tags of a name that was checked.
func (p nameParts) appendTags(dst []metric.Tag) []metric.Tag {
	for range p.count() {
		var tag []byte
		tag, p.list, _ = bytes.Cut(p.list, []byte{p.sep})
		key, value, _ := bytes.Cut(tag, []byte{'='})
		dst = append(dst, metric.Tag{Key: string(key), Value: string(value)})
	}
	return dst
}

// checkName checks all that can be wrong with a name and its tags.
func (p *Parser) checkName(name []byte) metric.Reason {
	parts := cutName(name)
	switch {
	case bytes.IndexByte(name, '|') >= 0:
		return metric.NoValue // the ':' is somewhere behind the type
	case !utf8.Valid(name):
		return metric.BadUTF8
	case len(parts.pre)+len(parts.post) == 0:
		return metric.EmptyName
	case parts.open || bytes.ContainsAny(parts.post, nameMarks):
		return metric.BadTag
	case parts.count() > p.Limits.Tags:
		return metric.TooManyTags
	}
	size := 0
	for _, part := range [...][]byte{parts.pre, parts.post} {
		n, ok := cleanLen(part)
		if !ok {
			return metric.BadName
		}
		size += n
	}
	if size > p.Limits.Name {
		return metric.NameTooLong
	}
	for range parts.count() {
		var tag []byte
		tag, parts.list, _ = bytes.Cut(parts.list, []byte{parts.sep})
		if bytes.IndexByte(tag, '=') <= 0 {
			return metric.BadTag
		}
		if reason := p.checkTag(len(tag), tag); reason != metric.OK {
			return reason
		}
	}
	return metric.OK
}

// cleanLen returns how many bytes of a clean name b becomes; ok is false if it
// holds a control character.
func cleanLen(b []byte) (n int, ok bool) {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case unicode.IsSpace(r):
			n++
		case unicode.IsControl(r):
			return 0, false
		default:
			n += size
		}
		b = b[size:]
	}
	return n, true
}

// cleanName makes a name that was checked canonical: '/' becomes '-' and white
// space '_', as in etsy's StatsD.
func cleanName(p nameParts) []byte {
	out := make([]byte, 0, len(p.pre)+len(p.post))
	return appendClean(appendClean(out, p.pre), p.post)
}

func appendClean(dst, part []byte) []byte {
	for _, r := range string(part) {
		switch {
		case r == '/':
			dst = append(dst, '-')
		case unicode.IsSpace(r):
			dst = append(dst, '_')
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}
