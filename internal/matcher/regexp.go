package matcher

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// maxLiterals is how many literals a regular expression is taken apart into; with
// more, it is cheaper to try it.
const maxLiterals = 512

// compile makes m match what a regular expression matches. Where that is no more than
// some literals, a prefix or everything, there is no need to run it.
func (m *Matcher) compile(text string) error {
	if len(text) > MaxRegexp {
		return fmt.Errorf("the regular expression for the tag %q has %d bytes; %d are allowed", m.Key, len(text), MaxRegexp)
	}
	whole, err := regexp.Compile("^(?s:" + text + ")$")
	if err == nil {
		_, err = syntax.Parse(text, syntax.Perl) // of a text such as a)|(b the whole is fine
	}
	if err != nil {
		var e *syntax.Error
		if errors.As(err, &e) {
			return fmt.Errorf("the regular expression %q for the tag %q cannot be read: %s at %q", text, m.Key, e.Code, e.Expr)
		}
		return fmt.Errorf("the regular expression %q for the tag %q cannot be read: %w", text, m.Key, err)
	}
	parsed, err := syntax.Parse(text, syntax.Perl|syntax.DotNL)
	if err != nil || !m.shorten(parsed) {
		m.regexp = whole
	}
	return nil
}

// shorten finds a shorter way; false: there is none.
func (m *Matcher) shorten(re *syntax.Regexp) bool {
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	// People write ^ and $ though both are implied.
	for len(parts) > 0 && parts[0].Op == syntax.OpBeginText {
		parts = parts[1:]
	}
	for len(parts) > 0 && parts[len(parts)-1].Op == syntax.OpEndText {
		parts = parts[:len(parts)-1]
	}
	if len(parts) > 0 {
		switch last := parts[len(parts)-1]; {
		case isAny(last, syntax.OpStar):
			prefixes, ok := product(parts[:len(parts)-1])
			if !ok {
				return false
			}
			if len(prefixes) == 1 && prefixes[0] == "" {
				m.every = true
			} else {
				m.prefixes = prefixes
			}
			return true
		case isAny(last, syntax.OpPlus) && len(parts) == 1:
			m.nonempty = true
			return true
		}
	}
	var ok bool
	m.literals, ok = product(parts)
	m.sortLiterals()
	return ok
}

func isAny(re *syntax.Regexp, op syntax.Op) bool {
	return re.Op == op && re.Sub[0].Op == syntax.OpAnyChar
}

// product returns the strings that a sequence matches, if they are few.
func product(parts []*syntax.Regexp) ([]string, bool) {
	all := []string{""}
	for _, p := range parts {
		tails, ok := expand(p)
		if !ok || len(all)*len(tails) > maxLiterals {
			return nil, false
		}
		next := make([]string, 0, len(all)*len(tails))
		for _, head := range all {
			for _, tail := range tails {
				next = append(next, head+tail)
			}
		}
		all = next
	}
	return all, true
}

// expand returns the strings that an expression matches, if they are few.
func expand(re *syntax.Regexp) ([]string, bool) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r == utf8.RuneError { // it also matches bytes that are no UTF-8
				return nil, false
			}
		}
		return []string{string(re.Rune)}, re.Flags&syntax.FoldCase == 0
	case syntax.OpCharClass:
		return expandClass(re.Rune)
	case syntax.OpCapture:
		return expand(re.Sub[0])
	case syntax.OpQuest:
		some, ok := expand(re.Sub[0])
		return append(some, ""), ok
	case syntax.OpConcat:
		return product(re.Sub)
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			some, ok := expand(sub)
			if !ok || len(all)+len(some) > maxLiterals {
				return nil, false
			}
			all = append(all, some...)
		}
		return all, true
	}
	return nil, false
}

// expandClass takes pairs of first and last runes.
func expandClass(pairs []rune) ([]string, bool) {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		if int(pairs[i+1]-pairs[i]) > maxLiterals-len(all) || pairs[i] <= utf8.RuneError && utf8.RuneError <= pairs[i+1] {
			return nil, false
		}
		for r := pairs[i]; r <= pairs[i+1]; r++ {
			if !utf8.ValidRune(r) {
				return nil, false
			}
			all = append(all, string(r))
		}
	}
	return all, true
}
