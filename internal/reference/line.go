package reference

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"cairn/internal/metric"
)

// Rules is how lines are read.
type Rules struct {
	Dialect    string // dogstatsd, etsy or brubeck
	Limits     metric.LineLimits
	OriginTags bool  // the fields c:, e: and card: become tags
	MaxAge     int64 // how many seconds old a timestamp may be; 0: 400 days
}

// Level says what the number of a gauge does.
type Level uint8

const (
	Reading Level = iota // is a reading
	Assign               // is one, and the level from which Adjust starts
	Adjust               // changes the level
)

// Event is one event of a line.
type Event struct {
	Name    string
	Kind    metric.Kind
	Tags    []metric.Tag   // as they stand there
	Value   float64        // as it stands there; not of a set
	Rate    float64        // the value stands for 1/Rate events; 1 of a gauge or a set
	Member  string         // of a set
	Level   Level          // of a gauge
	Sec     metric.UnixSec // 0: that of arrival
	Ignored bool           // the timestamp means nothing
}

// Faults is all that is wrong with a line.
type Faults map[metric.Reason]bool

// IsAnnotation reports whether a line is an event or a service check, which Read does
// not know.
func IsAnnotation(text string) bool {
	return strings.HasPrefix(text, "_e{") || strings.HasPrefix(text, "_sc|")
}

// line is what is known of one so far.
type line struct {
	rules  *Rules
	now    metric.UnixSec
	faults Faults

	name     string
	nameTags []metric.Tag
	inName   bool // there is a mark of tags in the name

	tags      []metric.Tag
	fieldTags bool
	rate      float64
	rates     int
	sec       metric.UnixSec
	stamps    int
	unread    bool // a timestamp that means nothing
}

func (l *line) fault(r metric.Reason) {
	if l.faults == nil {
		l.faults = make(Faults)
	}
	l.faults[r] = true
}

// Read returns the events of a line that arrived at now, or all that is wrong with it.
func (r *Rules) Read(text string, now metric.UnixSec) ([]Event, Faults) {
	l := &line{rules: r, now: now}
	if len(text) > r.Limits.Line {
		l.fault(metric.LineTooLong)
		return nil, l.faults
	}
	name, after, ok := strings.Cut(text, ":")
	if !ok {
		l.fault(metric.NoValue)
		return nil, l.faults
	}
	l.readName(name)
	var events []Event
	if _, rest, ok := strings.Cut(after, "|"); !ok {
		l.fault(metric.NoType)
	} else if f := strings.Split(rest, "|"); strings.Contains(f[0], ":") || len(f) > 1 && strings.HasPrefix(f[1], "@") && strings.Contains(f[1], ":") {
		events = l.readMany(after)
	} else {
		events = l.readPlain(after)
	}
	all := append(slices.Clone(l.nameTags), l.tags...)
	if len(all) > r.Limits.Tags {
		l.fault(metric.TooManyTags)
	}
	if l.inName && l.fieldTags {
		l.fault(metric.MixedTags)
	}
	for i := range events {
		events[i].Name, events[i].Tags = l.name, all
	}
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	return events, nil
}

var (
	signalFX  = regexp.MustCompile(`(?s)^([^,;#\[]*)\[([^\]]*)\]([^,;#\[]*)$`)
	commaList = regexp.MustCompile(`(?s)^([^,;#\[]*)[,#](.*)$`)
	graphite  = regexp.MustCompile(`(?s)^([^,;#\[]*);(.*)$`)
	pair      = regexp.MustCompile(`(?s)^([^=]+)=(.*)$`)
)

func (l *line) readName(name string) {
	if strings.Contains(name, "|") {
		l.fault(metric.NoValue)
	}
	if !utf8.ValidString(name) {
		l.fault(metric.BadUTF8)
		return
	}
	var parts []string
	if !strings.ContainsAny(name, ",;#[") {
		parts = nil // no tags
	} else if m := signalFX.FindStringSubmatch(name); m != nil {
		name, parts, l.inName = m[1]+m[3], strings.Split(m[2], ","), true
	} else if m := graphite.FindStringSubmatch(name); m != nil {
		name, parts, l.inName = m[1], strings.Split(m[2], ";"), true
	} else if m := commaList.FindStringSubmatch(name); m != nil {
		name, parts, l.inName = m[1], strings.Split(m[2], ","), true
	} else if i := strings.IndexByte(name, '['); i >= 0 {
		l.fault(metric.BadTag)
		if i == 0 && (!strings.Contains(name, "]") || strings.HasSuffix(name, "]")) {
			l.fault(metric.EmptyName)
		}
		return
	}
	if name == "" {
		l.fault(metric.EmptyName)
	}
	l.name = strings.Map(func(r rune) rune {
		switch {
		case r == '/':
			return '-'
		case unicode.IsSpace(r):
			return '_'
		case unicode.IsControl(r):
			l.fault(metric.BadName)
		}
		return r
	}, name)
	if len(l.name) > l.rules.Limits.Name {
		l.fault(metric.NameTooLong)
	}
	for _, part := range parts {
		m := pair.FindStringSubmatch(part)
		if m == nil {
			l.fault(metric.BadTag)
			continue
		}
		l.checkTag(part)
		l.nameTags = append(l.nameTags, metric.Tag{Key: m[1], Value: m[2]})
	}
	if len(parts) > l.rules.Limits.Tags {
		l.fault(metric.TooManyTags)
	}
}

func (l *line) checkTag(tag string) {
	if len(tag) > l.rules.Limits.Tag {
		l.fault(metric.TagTooLong)
	}
	if !utf8.ValidString(tag) {
		l.fault(metric.BadUTF8)
	}
	if strings.ContainsFunc(tag, unicode.IsControl) {
		l.fault(metric.BadTag)
	}
}

func (l *line) readPlain(after string) []Event {
	fields := strings.Split(after, "|")
	values, typ := fields[0], fields[1]
	for _, f := range fields[2:] {
		l.readField(f, typ)
	}
	return l.readValues(values, typ)
}

// readField reads what follows the type of a line with one type.
func (l *line) readField(f, typ string) {
	switch {
	case strings.HasPrefix(f, "@"):
		l.readRate(f[1:])
	case strings.HasPrefix(f, "T"):
		l.readTime(f[1:], typ)
	case strings.HasPrefix(f, "#"):
		l.fieldTags = true
		for _, tag := range strings.Split(f[1:], ",") {
			if tag = strings.TrimPrefix(tag, "#"); tag == "" {
				continue
			}
			l.checkTag(tag)
			key, value, _ := strings.Cut(tag, ":")
			if key == "" {
				l.fault(metric.BadTag)
			}
			l.tags = append(l.tags, metric.Tag{Key: key, Value: value})
		}
	case l.rules.OriginTags:
		for prefix, key := range map[string]string{"c:": "container_id", "e:": "external_data", "card:": "cardinality"} {
			if value, ok := strings.CutPrefix(f, prefix); ok && value != "" {
				l.checkTag(key + ":" + value)
				l.tags = append(l.tags, metric.Tag{Key: key, Value: value})
			}
		}
	}
}

var digits18 = regexp.MustCompile(`^[0-9]{1,18}$`)

func (l *line) readTime(digits, typ string) {
	sec, err := strconv.ParseInt(digits, 10, 64)
	if l.stamps++; l.stamps > 1 || !digits18.MatchString(digits) || err != nil || sec == 0 {
		l.fault(metric.BadTimestamp)
		return
	}
	kind, ok := l.kind(typ)
	if !ok || kind != metric.Counter && kind != metric.Gauge {
		l.unread = true
		return
	}
	l.sec = metric.UnixSec(sec)
	if l.sec > l.now+10 {
		l.fault(metric.Future)
	}
	oldest := l.now - 400*86400
	if l.rules.MaxAge > 0 {
		oldest = l.now - metric.UnixSec(l.rules.MaxAge)
	}
	if l.sec < oldest {
		l.fault(metric.TooOld)
	}
}

func (l *line) readRate(s string) {
	rate, ok := number(s)
	if l.rates++; l.rates > 1 || !ok || rate <= 0 || rate > 1 || math.IsInf(1/rate, 0) {
		l.fault(metric.BadRate)
	}
	l.rate = rate
}

var decimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

func number(s string) (float64, bool) {
	if !decimal.MatchString(s) {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil
}

func (l *line) kind(typ string) (metric.Kind, bool) {
	switch typ {
	case "c", "m":
		return metric.Counter, true
	case "C":
		return metric.Counter, l.rules.Dialect == "brubeck"
	case "g":
		return metric.Gauge, true
	case "ms", "h", "d":
		return metric.Distribution, true
	case "s":
		return metric.Set, true
	}
	return 0, false
}

func (l *line) readValues(values, typ string) []Event {
	kind, ok := l.kind(typ)
	if !ok {
		l.fault(metric.BadType)
		if typ == "" {
			l.fault(metric.NoType)
		}
	}
	e := Event{Kind: kind, Sec: l.sec, Ignored: l.unread, Rate: 1}
	if kind == metric.Set {
		if values == "" {
			l.fault(metric.NoValue)
		}
		e.Member = values
		return []Event{e}
	}
	var out []Event
	for _, s := range strings.Split(values, ":") {
		v, ok := number(s)
		switch {
		case s == "":
			l.fault(metric.NoValue)
			continue
		case !ok || math.Abs(v) > 1e290:
			l.fault(metric.BadValue)
			continue
		}
		e.Value = v
		if l.rates > 0 && kind != metric.Gauge {
			if e.Rate = l.rate; !(math.Abs(v/l.rate) <= 1e290) {
				l.fault(metric.BadValue)
			}
		}
		if kind == metric.Gauge && l.rules.Dialect == "etsy" {
			e.Level = Assign
			if s[0] == '+' || s[0] == '-' {
				e.Level = Adjust
			}
		}
		out = append(out, e)
	}
	return out
}

var (
	segment = regexp.MustCompile(`(?s)^([^|]*)\|([^|:]*)(\|@([^|:]*))?(:|$)`)
	field   = regexp.MustCompile(`(?s)^([^|]*)\|([^|:]*)(\|@([^|:]*))?\|(.?)`)
)

// readMany reads values with types of their own.
func (l *line) readMany(after string) []Event {
	var out []Event
	for {
		m := segment.FindStringSubmatch(after)
		if m == nil {
			switch f := field.FindStringSubmatch(after); {
			case f == nil:
				l.fault(metric.NoType)
			case f[5] == "#":
				l.fault(metric.MixedTags)
			case f[5] == "@":
				l.fault(metric.BadRate)
			default:
				l.fault(metric.BadType)
			}
			if f := field.FindStringSubmatch(after); f != nil {
				l.readSegment(f)
			}
			return nil
		}
		out = append(out, l.readSegment(m)...)
		if after = after[len(m[0]):]; m[5] == "" {
			return out
		}
	}
}

func (l *line) readSegment(m []string) []Event {
	if l.rates = 0; m[3] != "" {
		l.readRate(m[4])
	}
	return l.readValues(m[1], m[2])
}
