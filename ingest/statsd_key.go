package ingest

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"cairn/agg"
	"cairn/internal/metric"
)

// Tags that the origin fields of DogStatsD become with Parser.OriginTags.
const (
	containerTag    = "container_id"
	externalTag     = "external_data"
	cardinalityTag  = "cardinality"
	containerMark   = "c:"
	externalMark    = "e:"
	cardinalityMark = "card:"
)

// Resolve is the agg.Resolver of this wire format: it reads a name and the
// fields after the value.
func (p *Parser) Resolve(name, rest []byte, now metric.UnixSec) (agg.Resolution, metric.Reason) {
	var res agg.Resolution
	if len(rest) > 0 && rest[0] == structuredMark {
		return resolveStructured(name, rest), metric.OK
	}
	if reason := p.checkName(name); reason != metric.OK {
		return res, reason
	}
	field, rest, more := bytes.Cut(rest, []byte{'|'})
	kind, reason := p.kindOf(field)
	if reason != metric.OK {
		return res, reason
	}
	f := fields{weight: agg.Weight{Num: 1, Den: 1}}
	for more {
		field, rest, more = bytes.Cut(rest, []byte{'|'})
		if reason = p.readField(&f, field, timed(kind), now); reason != metric.OK {
			return res, reason
		}
	}
	parts := cutName(name)
	switch {
	case parts.sep != 0 && f.tagged:
		return res, metric.MixedTags
	case len(f.tags)+parts.count() > p.Limits.Tags:
		return res, metric.TooManyTags
	}
	res.Weight = f.weight
	if kind == metric.Gauge || kind == metric.Set {
		res.Weight = agg.Weight{Num: 1, Den: 1} // a reading or a member stands for itself
	}
	res.Sec, res.TimeIgnored = f.sec, f.stamped && !timed(kind)
	res.Series = metric.Series{
		ID:   metric.ID{Name: string(cleanName(parts)), Kind: kind},
		Tags: metric.NewTagset(parts.appendTags(f.tags)),
	}
	return res, metric.OK
}

// fields is what the fields after the type say.
type fields struct {
	weight  agg.Weight
	rated   bool
	tags    []metric.Tag
	tagged  bool // there is a # field
	sec     metric.UnixSec
	stamped bool // there is a T field
}

func (p *Parser) readField(f *fields, field []byte, timed bool, now metric.UnixSec) (reason metric.Reason) {
	if len(field) == 0 {
		return metric.OK
	}
	switch field[0] {
	case '@':
		num, den, ok := rateWeight(field[1:])
		if f.rated || !ok {
			return metric.BadRate
		}
		f.rated, f.weight = true, agg.Weight{Num: num, Den: den}
		return metric.OK
	case '#':
		f.tagged = true
		f.tags, reason = p.appendTags(f.tags, field[1:])
		return reason
	case 'T':
		if f.stamped {
			return metric.BadTimestamp
		}
		f.stamped = true
		f.sec, reason = p.timestamp(field[1:], timed, now)
		return reason
	}
	if key, value := origin(field); p.OriginTags && len(value) > 0 {
		reason = p.checkTag(len(key)+1+len(value), value)
		f.tags = append(f.tags, metric.Tag{Key: key, Value: string(value)})
	}
	return reason
}

// origin returns the tag that a field about the sender becomes.
func origin(field []byte) (key string, value []byte) {
	if v, ok := bytes.CutPrefix(field, []byte(containerMark)); ok {
		return containerTag, v
	}
	if v, ok := bytes.CutPrefix(field, []byte(externalMark)); ok {
		return externalTag, v
	}
	if v, ok := bytes.CutPrefix(field, []byte(cardinalityMark)); ok {
		return cardinalityTag, v
	}
	return "", nil
}

func (p *Parser) kindOf(field []byte) (metric.Kind, metric.Reason) {
	switch string(field) {
	case "c", "m":
		return metric.Counter, metric.OK
	case "C":
		if p.Dialect == Brubeck {
			return metric.Counter, metric.OK
		}
	case "g":
		return metric.Gauge, metric.OK
	case "ms", "h", "d":
		return metric.Distribution, metric.OK
	case "s":
		return metric.Set, metric.OK
	case "":
		return 0, metric.NoType
	}
	return 0, metric.BadType
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
		if len(dst) >= p.Limits.Tags {
			return dst, metric.TooManyTags
		}
		if reason := p.checkTag(len(tag), tag); reason != metric.OK {
			return dst, reason
		}
		key, value, _ := bytes.Cut(tag, []byte{':'})
		if len(key) == 0 {
			return dst, metric.BadTag
		}
		dst = append(dst, metric.Tag{Key: string(key), Value: string(value)})
	}
	return dst, metric.OK
}

// checkTag checks the bytes of a tag, which is size bytes long.
func (p *Parser) checkTag(size int, tag []byte) metric.Reason {
	switch {
	case size > p.Limits.Tag:
		return metric.TagTooLong
	case !utf8.Valid(tag):
		return metric.BadUTF8
	case bytes.ContainsFunc(tag, unicode.IsControl):
		return metric.BadTag
	}
	return metric.OK
}
