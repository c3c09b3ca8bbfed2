package matcher

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLiterals is how many literals a regular expression is taken apart into; with
// more, it is cheaper to try it.
const maxLiterals = 512

// maxSteps bounds the instructions of a compiled expression. All of them can be tried at each byte:
// the slowest that were found, such as (?:.?){1000}, take 2 to 6 ms for a value of 200 bytes, and 2 MB.
// Four KiB of text could be 660,000 instructions.
const maxSteps = 2000

// What takes long to read, whatever it compiles to: of a class as \pL each has hundreds of ranges; and
// of a range that ignores case, each letter is looked up, 2 ms for all of them. With so many the
// slowest take some 10 ms.
const (
	maxClasses = 32
	maxFolded  = 4
)

// compile makes m match what a regular expression matches. Where that is no more than
// some literals, a prefix or everything, there is no need to run it.
func (m *Matcher) compile(text string) error {
	if len(text) > MaxRegexp {
		return fmt.Errorf("the regular expression for the tag %q has %d bytes; %d are allowed", m.Key, len(text), MaxRegexp)
	}
	if n := strings.Count(text, `\p`) + strings.Count(text, `\P`); n > maxClasses {
		return fmt.Errorf("the regular expression for the tag %q has %d classes as \\pL; %d are allowed", m.Key, n, maxClasses)
	}
	if n := foldedRanges(text); n > maxFolded {
		return fmt.Errorf("the regular expression for the tag %q ignores case and has %d ranges, some not of ASCII; %d are allowed", m.Key, n, maxFolded)
	}
	// Of a text such as a)|(b the whole, below, is fine.
	parsed, err := syntax.Parse(text, syntax.Perl|syntax.DotNL)
	if err != nil {
		return m.unreadable(text, err)
	}
	if m.shorten(parsed) {
		return nil
	}
	// Before it is compiled: that takes the memory.
	if m.steps = steps(parsed); m.steps > maxSteps {
		return fmt.Errorf("the regular expression for the tag %q has %d steps once its repetitions are written out; %d are allowed", m.Key, m.steps, maxSteps)
	}
	m.verdicts = &Verdicts{}
	m.regexp, err = regexp.Compile("^(?s:" + text + ")$")
	if err != nil {
		return m.unreadable(text, err)
	}
	return nil
}

func (m *Matcher) unreadable(text string, err error) error {
	var e *syntax.Error
	if errors.As(err, &e) {
		return fmt.Errorf("the regular expression %q for the tag %q cannot be read: %s at %q", text, m.Key, e.Code, e.Expr)
	}
	return fmt.Errorf("the regular expression %q for the tag %q cannot be read: %w", text, m.Key, err)
}

// foldedRanges returns how many ranges an expression may have at most that ignore case and are not
// of ASCII.
func foldedRanges(text string) int {
	folds := false
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "(?")
		if !found {
			break
		}
		flags := after[:len(after)-len(strings.TrimLeft(after, "imsU-"))]
		folds, rest = folds || strings.Contains(flags, "i"), after
	}
	ascii := !strings.Contains(text, `\`) && strings.IndexFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) < 0
	_, classes, _ := strings.Cut(text, "[")
	if !folds || ascii {
		return 0
	}
	return strings.Count(classes, "-")
}

// steps returns about how many instructions an expression compiles to, not fewer.
func steps(re *syntax.Regexp) int {
	n := 1
	for _, sub := range re.Sub {
		n += steps(sub)
	}
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune)
	case syntax.OpCapture, syntax.OpStar: // (?:x?)* becomes (?:x?+)?
		return n + 1
	case syntax.OpAlternate:
		return n + len(re.Sub)
	case syntax.OpRepeat:
		if re.Min == re.Max {
			return (n-1)*re.Min + 1
		}
		return (n + 1) * max(re.Min, re.Max, 1) // each may be left out
	}
	return n
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

// maxLiteralText bounds the bytes of the literals: each part of a sequence makes all anew.
const maxLiteralText = 64 << 10

// product returns the strings that a sequence matches, if they are few.
func product(parts []*syntax.Regexp) ([]string, bool) {
	all := []string{""}
	for _, p := range parts {
		tails, ok := expand(p)
		if !ok || len(all)*len(tails) > maxLiterals {
			return nil, false
		}
		next, size := make([]string, 0, len(all)*len(tails)), 0
		for _, head := range all {
			for _, tail := range tails {
				next = append(next, head+tail)
				size += len(head) + len(tail)
			}
		}
		if size > maxLiteralText {
			return nil, false
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
