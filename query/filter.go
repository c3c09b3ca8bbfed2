package query

import (
	"fmt"
	"strings"

	"cairn/internal/metric"
)

// Filter decides on one tag key. A series passes if any of its values for the
// key matches any of the patterns; with Not, if none does.
type Filter struct {
	Key      string
	Not      bool
	patterns []pattern
}

// pattern is literal pieces with "any text" between each two of them.
type pattern []string

// maxFilters bounds the work a series.
const maxFilters = 32

// ParseFilter reads `key:value`, `!key:value`, `key:a|b`, `key:web-*` or `key:*`;
// `key` alone asks for the bare tag. A backslash takes its meaning from any of
// `|*!:\`.
func ParseFilter(s string) (Filter, error) {
	var f Filter
	rest := s
	if strings.HasPrefix(rest, "!") {
		f.Not, rest = true, rest[1:]
	}
	var key strings.Builder
	i := 0
	for ; i < len(rest) && rest[i] != ':'; i++ {
		if rest[i] == '\\' && i+1 < len(rest) {
			i++
		}
		key.WriteByte(rest[i])
	}
	if f.Key = key.String(); f.Key == "" {
		return f, fmt.Errorf("filter %q has no tag key; write key:value, !key:value, key:a|b, key:prefix* or key:*", s)
	}
	if i < len(rest) {
		i++ // the colon
	}
	f.patterns = parsePatterns(rest[i:])
	return f, nil
}

func parsePatterns(s string) []pattern {
	var all []pattern
	var p pattern
	var piece strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			piece.WriteByte(s[i])
		case c == '*':
			p = append(p, piece.String())
			piece.Reset()
		case c == '|':
			all = append(all, append(p, piece.String()))
			p = nil
			piece.Reset()
		default:
			piece.WriteByte(c)
		}
	}
	return append(all, append(p, piece.String()))
}

// match is greedy from the left, which finds a match if there is one: a piece
// that is found earlier leaves more room for the others.
func (p pattern) match(s string) bool {
	if len(p) == 1 {
		return s == p[0]
	}
	first, last := p[0], p[len(p)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, piece := range p[1 : len(p)-1] {
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return true
}

// Match reports whether a tagset passes.
func (f *Filter) Match(ts metric.Tagset) bool {
	for t := range ts.All() {
		if t.Key != f.Key {
			continue
		}
		for _, p := range f.patterns {
			if p.match(t.Value) {
				return !f.Not
			}
		}
	}
	return f.Not
}

func matchAll(filters []Filter) func(metric.Tagset) bool {
	return func(ts metric.Tagset) bool {
		for i := range filters {
			if !filters[i].Match(ts) {
				return false
			}
		}
		return true
	}
}
