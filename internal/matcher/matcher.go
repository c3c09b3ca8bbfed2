package matcher

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cairn/internal/metric"
)

// Op is an operator of PromQL.
type Op uint8

// The operators.
const (
	Equal     Op = iota + 1 // =
	NotEqual                // !=
	Regexp                  // =~
	NotRegexp               // !~
)

// String returns the operator the way PromQL writes it.
func (o Op) String() string {
	switch o {
	case Equal:
		return "="
	case NotEqual:
		return "!="
	case Regexp:
		return "=~"
	case NotRegexp:
		return "!~"
	}
	return fmt.Sprintf("operator %d", uint8(o))
}

// Matcher decides on one tag key. Make it with New or Any.
type Matcher struct {
	Key string
	Not bool // passes what does not match
	// MissingIsEmpty says that a series without the key is taken as if it had it with
	// the empty value.
	MissingIsEmpty bool

	// A value matches if any of these does.
	every    bool // all values
	nonempty bool // all but the empty one
	literals []string
	prefixes []string
	patterns []Pattern
	regexp   *regexp.Regexp
	steps    int // of regexp
	verdicts *Verdicts
}

// MaxRegexp is how long a regular expression may be, in bytes: a list of a few hundred
// hosts fits. What it may compile to has a bound of its own.
const MaxRegexp = 4 << 10

// New returns a PromQL matcher. A regular expression is RE2 syntax and must match the
// whole value; its dot matches all characters. A series without the key has the empty
// value.
func New(key string, op Op, value string) (*Matcher, error) {
	m := &Matcher{Key: key, Not: op == NotEqual || op == NotRegexp, MissingIsEmpty: true}
	switch op {
	case Equal, NotEqual:
		m.literals = []string{value}
		return m, nil
	case Regexp, NotRegexp:
		return m, m.compile(value)
	}
	return nil, fmt.Errorf("the tag %q is compared with %s; there are =, !=, =~ and !~", key, op)
}

// Any returns a matcher that passes series of which a value matches any of the
// patterns. A series without the key has no value: it passes only a negated one.
func Any(key string, not bool, patterns ...Pattern) *Matcher {
	m := &Matcher{Key: key, Not: not}
	for _, p := range patterns {
		switch {
		case len(p) == 1:
			m.literals = append(m.literals, p[0])
		case !slices.ContainsFunc(p, func(piece string) bool { return piece != "" }):
			m.every = true
		case len(p) == 2 && p[1] == "":
			m.prefixes = append(m.prefixes, p[0])
		default:
			m.patterns = append(m.patterns, p)
		}
	}
	m.sortLiterals()
	return m
}

func (m *Matcher) sortLiterals() {
	slices.Sort(m.literals)
	m.literals = slices.Compact(m.literals)
}

// MatchValue reports whether a value matches; Not is the caller's affair.
func (m *Matcher) MatchValue(v string) bool {
	if m.every || m.nonempty && v != "" {
		return true
	}
	if len(m.literals) == 1 { // nearly always
		if m.literals[0] == v {
			return true
		}
	} else if _, ok := slices.BinarySearch(m.literals, v); ok {
		return true
	}
	for _, p := range m.prefixes {
		if strings.HasPrefix(v, p) {
			return true
		}
	}
	for _, p := range m.patterns {
		if p.match(v) {
			return true
		}
	}
	return m.regexp != nil && m.regexp.MatchString(v)
}

// Literals returns the values that match, ascending, if there are no others; ok is
// false if they cannot be told. The caller must not change them.
func (m *Matcher) Literals() (values []string, ok bool) {
	others := m.every || m.nonempty || len(m.prefixes) > 0 || len(m.patterns) > 0 || m.regexp != nil
	return m.literals, !others
}

// Every reports whether all values match.
func (m *Matcher) Every() bool { return m.every || m.nonempty && m.MatchValue("") }

// Match reports whether a tagset passes.
func (m *Matcher) Match(ts metric.Tagset) bool {
	has := false
	for t := range ts.All() {
		if t.Key != m.Key {
			continue
		}
		has = true
		if m.MatchValue(t.Value) {
			return !m.Not
		}
	}
	if !has && m.MissingIsEmpty && m.MatchValue("") {
		return !m.Not
	}
	return m.Not
}

// List is matchers that must all pass. An empty one lets everything pass.
type List []*Matcher

// Match reports whether a tagset passes all.
func (l List) Match(ts metric.Tagset) bool {
	for _, m := range l {
		if !m.Match(ts) {
			return false
		}
	}
	return true
}

// Pattern is literal pieces with any text between each two of them: one piece is a
// literal, and "web-" and "" are a prefix.
type Pattern []string

// match is greedy from the left, which finds a match if there is one: a piece
// that is found earlier leaves more room for the others.
func (p Pattern) match(s string) bool {
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

// String returns what tells the matcher from others that pass other series.
func (m *Matcher) String() string {
	re := ""
	if m.regexp != nil {
		re = m.regexp.String()
	}
	return fmt.Sprintf("%q not:%t missing:%t every:%t nonempty:%t %q %q %q %q", m.Key, m.Not, m.MissingIsEmpty, m.every, m.nonempty, m.literals, m.prefixes, m.patterns, re)
}
