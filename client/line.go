package client

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what the server takes unless it is set otherwise.
const (
	maxName = 255
	maxTag  = 255
	maxTags = 64
	maxLine = 4096
)

// Pair is a tag. Tag makes one.
type Pair struct{ key, value string }

// Tag returns a tag. What would break a line in it becomes '_': control characters, bytes
// that are not UTF-8, ',' and '|' anywhere, and in the key ':' and a '#' that it begins
// with. A tag without a key, or one of more than 255 bytes, makes its series refused.
func Tag(key, value string) Pair { return Pair{key, value} }

// series is how lines of one series look: prefix, value, suffix.
type series struct {
	prefix string // name and ':'
	suffix string // type and tags, and "|T" if a second comes behind it
	low    bool
}

// clean replaces what would break a line. White space and '/' in names become what the
// server would make of them.
func clean(s string, breaks func(r rune) bool) string {
	ok := utf8.ValidString(s)
	for i := 0; ok && i < len(s); i++ {
		ok = s[i] < utf8.RuneSelf && s[i] > ' ' && s[i] != 0x7f && !breaks(rune(s[i]))
	}
	if ok {
		return s
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || breaks(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(s, "_"))
}

func breaksName(r rune) bool { return strings.ContainsRune(":|,;#[", r) || unicode.IsSpace(r) }
func breaksKey(r rune) bool  { return r == ':' || r == ',' || r == '|' }
func breaksTag(r rune) bool  { return r == ',' || r == '|' }

func cleanName(name string) (string, string) {
	name = strings.ReplaceAll(clean(name, breaksName), "/", "-")
	switch {
	case name == "":
		return "", "a metric without a name"
	case len(name) > maxName:
		return "", "a name of more than 255 bytes"
	case strings.HasPrefix(name, "_e{"):
		return "", "a name that begins like an event, with _e{"
	}
	return name, ""
}

// cleanTags returns own and common tags in order, each once; own ones go before common
// ones of the same key.
func cleanTags(common, own []Pair) ([]Pair, string) {
	out := make([]Pair, 0, len(common)+len(own))
	for i, list := range [...][]Pair{own, common} {
		for _, t := range list {
			t = Pair{clean(t.key, breaksKey), clean(t.value, breaksTag)}
			if rest, ok := strings.CutPrefix(t.key, "#"); ok {
				t.key = "_" + rest
			}
			switch {
			case t.key == "":
				return nil, "a tag without a key"
			case len(t.key)+1+len(t.value) > maxTag:
				return nil, "a tag of more than 255 bytes"
			}
			if i == 0 || !slices.ContainsFunc(own, func(o Pair) bool { return clean(o.key, breaksKey) == t.key }) {
				out = append(out, t)
			}
		}
	}
	slices.SortFunc(out, func(a, b Pair) int {
		if c := strings.Compare(a.key, b.key); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	if out = slices.Compact(out); len(out) > maxTags {
		return nil, "more than 64 tags"
	}
	return out, ""
}

// newSeries returns how lines of a series of a type look; why says what is wrong with it.
func newSeries(name, typ string, common, own []Pair, low []string, most int) (s series, why string) {
	if name, why = cleanName(name); why != "" {
		return s, why
	}
	tags, why := cleanTags(common, own)
	if why != "" {
		return s, why
	}
	var b strings.Builder
	b.WriteString("|" + typ)
	for i, t := range tags {
		if i == 0 {
			b.WriteString("|#")
		} else {
			b.WriteByte(',')
		}
		b.WriteString(t.key)
		if t.value != "" {
			b.WriteString(":" + t.value)
		}
	}
	if typ == "c" || typ == "g" {
		b.WriteString("|T")
	}
	s = series{prefix: name + ":", suffix: b.String()}
	if len(s.prefix)+len(s.suffix)+room > most {
		return s, "name and tags that do not fit into a line, which has 4,096 bytes, or into a datagram"
	}
	for _, p := range low {
		s.low = s.low || strings.HasPrefix(name, p)
	}
	return s, ""
}

const (
	// room is what value, stamp and line end may take beside name and tags; members of sets
	// are the longest.
	room = maxMember + 1
	// number is what a number or a stamp takes at most, with the byte in front of it.
	number = 26
)
