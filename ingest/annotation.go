package ingest

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"cairn/internal/metric"
)

// DogStatsD's events and service checks. The lengths are of title and text as
// they stand in the line, in bytes; in texts \n stands for a line end. Fields
// come in any order, those not named here are ignored, and of a field given
// twice the last one counts.
//
//	_e{<len title>,<len text>}:title|text[|d:<unix seconds>][|h:host][|k:key][|p:normal or low][|s:source][|t:type][|#tags]
//	_sc|name|<0 to 3>[|d:<unix seconds>][|h:host][|#tags][|m:message]
//
// https://docs.datadoghq.com/developers/dogstatsd/datagram_shell

const (
	eventMark = "_e{"
	checkMark = "_sc|"
)

// checkStatuses are those of a service check, by their number.
var checkStatuses = [...]string{"ok", "warning", "critical", "unknown"}

// isAnnotation reports whether a line is an event or a service check.
func isAnnotation(line []byte) bool {
	return bytes.HasPrefix(line, []byte(eventMark)) || bytes.HasPrefix(line, []byte(checkMark))
}

// annotation reads a line for which isAnnotation holds. now is the second of
// arrival, which an annotation without a time of its own gets.
func (p *Parser) annotation(line []byte, now metric.UnixSec) (metric.Annotation, metric.Reason) {
	if len(line) > p.Limits.Line {
		return metric.Annotation{}, metric.LineTooLong
	}
	if !utf8.Valid(line) {
		return metric.Annotation{}, metric.BadUTF8
	}
	if rest, ok := bytes.CutPrefix(line, []byte(eventMark)); ok {
		return p.event(string(rest), now)
	}
	return p.check(string(line[len(checkMark):]), now)
}

func (p *Parser) event(s string, now metric.UnixSec) (metric.Annotation, metric.Reason) {
	a := metric.Annotation{Time: now, Status: "info", Priority: "normal"}
	bad := func() (metric.Annotation, metric.Reason) { return metric.Annotation{}, metric.BadAnnotation }
	titleLen, s, ok := cutLength(s, ",")
	if !ok {
		return bad()
	}
	textLen, s, ok := cutLength(s, "}:")
	if !ok || titleLen == 0 || titleLen+1+textLen > len(s) || s[titleLen] != '|' {
		return bad()
	}
	a.Title, a.Text = s[:titleLen], s[titleLen+1:titleLen+1+textLen]
	if s = s[titleLen+1+textLen:]; s != "" && s[0] != '|' {
		return bad()
	}
	if reason := p.annotate(&a, s, now); reason != metric.OK {
		return metric.Annotation{}, reason
	}
	a.Title, a.Text = lineEnds(a.Title), lineEnds(a.Text)
	return shown(a)
}

func (p *Parser) check(s string, now metric.UnixSec) (metric.Annotation, metric.Reason) {
	a := metric.Annotation{Time: now, Check: true}
	name, s, _ := strings.Cut(s, "|")
	status, fields, more := strings.Cut(s, "|")
	if name == "" || len(status) != 1 || status[0] < '0' || int(status[0]-'0') >= len(checkStatuses) {
		return metric.Annotation{}, metric.BadAnnotation
	}
	a.Title, a.Status = name, checkStatuses[status[0]-'0']
	if more {
		fields = "|" + fields
	}
	if reason := p.annotate(&a, fields, now); reason != metric.OK {
		return metric.Annotation{}, reason
	}
	a.Text = lineEnds(strings.ReplaceAll(a.Text, `m\:`, "m:")) // as its clients escape it
	return shown(a)
}

// cutLength reads a number of bytes up to an end mark. Five digits hold the
// length of any line.
func cutLength(s, end string) (n int, rest string, ok bool) {
	digits, rest, ok := strings.Cut(s, end)
	if !ok || digits == "" || len(digits) > 5 {
		return 0, "", false
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, "", false
		}
		n = n*10 + int(c-'0')
	}
	return n, rest, true
}

func lineEnds(s string) string { return strings.ReplaceAll(s, `\n`, "\n") }

// annotate reads the fields of an event or a check, each with a '|' before it.
func (p *Parser) annotate(a *metric.Annotation, s string, now metric.UnixSec) (reason metric.Reason) {
	var tags []metric.Tag
	for more := s != ""; more; {
		var field string
		field, s, more = strings.Cut(s[1:], "|")
		if s = "|" + s; field == "" {
			continue
		}
		if field[0] == '#' {
			if tags, reason = p.appendTags(tags, []byte(field[1:])); reason != metric.OK {
				return reason
			}
			continue
		}
		mark, value, ok := strings.Cut(field, ":")
		switch {
		case !ok:
		case mark == "d":
			a.Time, reason = p.timestamp([]byte(value), true, now)
		case mark == "h":
			a.Host = value
		case a.Check && mark == "m":
			a.Text = value
		case a.Check:
		case mark == "k":
			a.Key = value
		case mark == "s":
			a.Source = value
		case mark == "p":
			a.Priority, reason = oneOf(value, "normal", "low")
		case mark == "t":
			a.Status, reason = oneOf(value, "info", "success", "warning", "error")
		}
		if reason != metric.OK {
			return reason
		}
	}
	a.Tags = metric.NewTagset(tags)
	return metric.OK
}

func oneOf(value string, allowed ...string) (string, metric.Reason) {
	for _, s := range allowed {
		if s == value {
			return s, metric.OK
		}
	}
	return "", metric.BadAnnotation
}

// shown returns a if nothing of it can harm who shows it: a control character is
// nothing but a line end or a tab in a text.
func shown(a metric.Annotation) (metric.Annotation, metric.Reason) {
	for _, s := range [...]string{a.Title, a.Text} {
		if strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
			return metric.Annotation{}, metric.BadAnnotation
		}
	}
	for _, s := range [...]string{a.Host, a.Key, a.Source} {
		if strings.ContainsFunc(s, unicode.IsControl) {
			return metric.Annotation{}, metric.BadAnnotation
		}
	}
	return a, metric.OK
}
