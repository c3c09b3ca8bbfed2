package ingest

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// The reference: a second reader of the same rules, slow and obvious, that
// shares no code with the first. It finds all that is wrong with a line, where
// the fast one stops at the first fault.

type refLine struct {
	p      *Parser
	faults map[metric.Reason]bool

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

func (l *refLine) fault(r metric.Reason) { l.faults[r] = true }

func referenceRead(p *Parser, line string) ([]event, map[metric.Reason]bool) {
	l := &refLine{p: p, faults: map[metric.Reason]bool{}}
	if len(line) > p.Limits.Line {
		l.fault(metric.LineTooLong)
		return nil, l.faults
	}
	name, after, ok := strings.Cut(line, ":")
	if !ok {
		l.fault(metric.NoValue)
		return nil, l.faults
	}
	l.readName(name)
	var events []event
	if _, rest, ok := strings.Cut(after, "|"); !ok {
		l.fault(metric.NoType)
	} else if f := strings.Split(rest, "|"); strings.Contains(f[0], ":") || len(f) > 1 && strings.HasPrefix(f[1], "@") && strings.Contains(f[1], ":") {
		events = l.readMany(after)
	} else {
		events = l.readPlain(after)
	}
	all := append(slices.Clone(l.nameTags), l.tags...)
	if len(all) > p.Limits.Tags {
		l.fault(metric.TooManyTags)
	}
	if l.inName && l.fieldTags {
		l.fault(metric.MixedTags)
	}
	for i := range events {
		events[i].series.Name, events[i].series.Tags = l.name, metric.NewTagset(slices.Clone(all))
	}
	if len(l.faults) > 0 {
		return nil, l.faults
	}
	return events, nil
}

var (
	refSignalFX = regexp.MustCompile(`(?s)^([^,;#\[]*)\[([^\]]*)\]([^,;#\[]*)$`)
	refList     = regexp.MustCompile(`(?s)^([^,;#\[]*)[,#](.*)$`)
	refGraphite = regexp.MustCompile(`(?s)^([^,;#\[]*);(.*)$`)
	refPair     = regexp.MustCompile(`(?s)^([^=]+)=(.*)$`)
)

func (l *refLine) readName(name string) {
	if strings.Contains(name, "|") {
		l.fault(metric.NoValue)
	}
	if !utf8.ValidString(name) {
		l.fault(metric.BadUTF8)
		return
	}
	var parts []string
	if m := refSignalFX.FindStringSubmatch(name); m != nil {
		name, parts, l.inName = m[1]+m[3], strings.Split(m[2], ","), true
	} else if m := refGraphite.FindStringSubmatch(name); m != nil {
		name, parts, l.inName = m[1], strings.Split(m[2], ";"), true
	} else if m := refList.FindStringSubmatch(name); m != nil {
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
	if len(l.name) > l.p.Limits.Name {
		l.fault(metric.NameTooLong)
	}
	for _, part := range parts {
		m := refPair.FindStringSubmatch(part)
		if m == nil {
			l.fault(metric.BadTag)
			continue
		}
		l.checkTag(part)
		l.nameTags = append(l.nameTags, metric.Tag{Key: m[1], Value: m[2]})
	}
	if len(parts) > l.p.Limits.Tags {
		l.fault(metric.TooManyTags)
	}
}

func (l *refLine) checkTag(tag string) {
	if len(tag) > l.p.Limits.Tag {
		l.fault(metric.TagTooLong)
	}
	if !utf8.ValidString(tag) {
		l.fault(metric.BadUTF8)
	}
	if strings.ContainsFunc(tag, unicode.IsControl) {
		l.fault(metric.BadTag)
	}
}

func (l *refLine) readPlain(after string) []event {
	fields := strings.Split(after, "|")
	values, typ := fields[0], fields[1]
	for _, f := range fields[2:] {
		l.readField(f, typ)
	}
	return l.readValues(values, typ)
}

// readField reads what follows the type of a line with one type.
func (l *refLine) readField(f, typ string) {
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
	case l.p.OriginTags:
		for prefix, key := range map[string]string{"c:": "container_id", "e:": "external_data", "card:": "cardinality"} {
			if value, ok := strings.CutPrefix(f, prefix); ok && value != "" {
				l.checkTag(key + ":" + value)
				l.tags = append(l.tags, metric.Tag{Key: key, Value: value})
			}
		}
	}
}

var refDigits = regexp.MustCompile(`^[0-9]{1,18}$`)

func (l *refLine) readTime(digits, typ string) {
	sec, err := strconv.ParseInt(digits, 10, 64)
	if l.stamps++; l.stamps > 1 || !refDigits.MatchString(digits) || err != nil || sec == 0 {
		l.fault(metric.BadTimestamp)
		return
	}
	kind, ok := l.kind(typ)
	if !ok || kind != metric.Counter && kind != metric.Gauge {
		l.unread = true
		return
	}
	l.sec = metric.UnixSec(sec)
	if l.sec > now+10 {
		l.fault(metric.Future)
	}
	if l.sec < now-400*86400 {
		l.fault(metric.TooOld)
	}
}

func (l *refLine) readRate(s string) {
	rate, ok := refNumber(s)
	if l.rates++; l.rates > 1 || !ok || rate <= 0 || rate > 1 || math.IsInf(1/rate, 0) {
		l.fault(metric.BadRate)
	}
	l.rate = rate
}

var refDecimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

func refNumber(s string) (float64, bool) {
	if !refDecimal.MatchString(s) {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil
}

func (l *refLine) kind(typ string) (metric.Kind, bool) {
	kinds := map[string]metric.Kind{
		"c": metric.Counter, "m": metric.Counter, "g": metric.Gauge, "s": metric.Set,
		"ms": metric.Distribution, "h": metric.Distribution, "d": metric.Distribution,
	}
	if l.p.Dialect == Brubeck {
		kinds["C"] = metric.Counter
	}
	k, ok := kinds[typ]
	return k, ok
}

func (l *refLine) readValues(values, typ string) []event {
	kind, ok := l.kind(typ)
	if !ok {
		l.fault(metric.BadType)
		if typ == "" {
			l.fault(metric.NoType)
		}
	}
	e := event{sec: l.sec, ignored: l.unread}
	e.series.Kind = kind
	if kind == metric.Set {
		if values == "" {
			l.fault(metric.NoValue)
		}
		e.bits = bucket.HashMember([]byte(values))
		return []event{e}
	}
	var out []event
	for _, s := range strings.Split(values, ":") {
		v, ok := refNumber(s)
		switch {
		case s == "":
			l.fault(metric.NoValue)
			continue
		case !ok || math.Abs(v) > 1e290:
			l.fault(metric.BadValue)
			continue
		}
		e.value = v
		if l.rates > 0 && kind != metric.Gauge {
			if e.value = v / l.rate; !(math.Abs(e.value) <= 1e290) {
				l.fault(metric.BadValue)
			}
		}
		if kind == metric.Gauge && l.p.Dialect == Etsy {
			e.op = agg.Assign
			if s[0] == '+' || s[0] == '-' {
				e.op = agg.Adjust
			}
		}
		out = append(out, e)
	}
	return out
}

var (
	refSegment = regexp.MustCompile(`(?s)^([^|]*)\|([^|:]*)(\|@([^|:]*))?(:|$)`)
	refField   = regexp.MustCompile(`(?s)^([^|]*)\|([^|:]*)(\|@([^|:]*))?\|(.?)`)
)

// readMany reads values with types of their own.
func (l *refLine) readMany(after string) []event {
	var out []event
	for {
		m := refSegment.FindStringSubmatch(after)
		if m == nil {
			switch f := refField.FindStringSubmatch(after); {
			case f == nil:
				l.fault(metric.NoType)
			case f[5] == "#":
				l.fault(metric.MixedTags)
			case f[5] == "@":
				l.fault(metric.BadRate)
			default:
				l.fault(metric.BadType)
			}
			if f := refField.FindStringSubmatch(after); f != nil {
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

func (l *refLine) readSegment(m []string) []event {
	if l.rates = 0; m[3] != "" {
		l.readRate(m[4])
	}
	return l.readValues(m[1], m[2])
}

func requireAgreement(t testing.TB, p *Parser, line string) {
	got, reason := read(p, line)
	want, faults := referenceRead(p, line)
	if len(faults) > 0 {
		require.True(t, faults[reason], "%s: %q is rejected as %s; what is wrong with it: %v", p.Dialect, line, reason, faults)
		return
	}
	require.Equal(t, metric.OK, reason, "%s: %q is rejected as %s, and nothing is wrong with it", p.Dialect, line, reason)
	require.Len(t, got, len(want), "%s: %q", p.Dialect, line)
	for i := range want {
		// A rate is read as a fraction; the reference divides, and rounds once more.
		require.InDelta(t, 0, got[i].value-want[i].value, 1e-14*math.Abs(want[i].value), "%s: %q", p.Dialect, line)
		want[i].value = got[i].value
	}
	require.Equal(t, want, got, "%s: %q", p.Dialect, line)
}

func TestReferenceKnowsTheCorpus(t *testing.T) {
	for d, p := range dialects {
		for _, c := range mustCount {
			got, faults := referenceRead(p, c.line)
			require.Empty(t, faults, "%s: %q", Dialect(d), c.line)
			require.Len(t, got, len(c.want), "%q", c.line)
		}
		for line, reason := range mustReject {
			if !isAnnotation([]byte(line)) {
				_, faults := referenceRead(p, line)
				require.True(t, faults[reason], "%s: %q", Dialect(d), line)
			}
		}
		for _, line := range corpus() {
			requireAgreement(t, p, line)
		}
	}
}

// FuzzAgainstReference reads any line in any dialect, with and without origin
// tags, by both parsers.
func FuzzAgainstReference(f *testing.F) {
	for _, line := range corpus() {
		f.Add([]byte(line), byte(len(line)))
	}
	f.Fuzz(func(t *testing.T, b []byte, how byte) {
		line, _, _ := strings.Cut(string(b), "\n")
		p := *dialects[int(how/2)%int(numDialects)]
		p.OriginTags = how%2 == 1
		if how >= 128 {
			p.Limits = metric.LineLimits{Line: 64, Name: 8, Tag: 8, Tags: 3} // so that they are met
		}
		requireExplained(t, line, p.Limits)
		if !isAnnotation([]byte(line)) {
			requireAgreement(t, &p, line)
		}
	})
}
