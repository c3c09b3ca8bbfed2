package query

import (
	"fmt"
	"strings"

	"cairn/internal/matcher"
)

// maxFilters bounds the work a series.
const maxFilters = 32

const filterForm = "write key:value, !key:value, key:a|b, key:prefix*, key:*, key=value, key!=value, key=~regexp or key!~regexp"

// ParseFilter reads `key:value`, `!key:value`, `key:a|b`, `key:web-*` or `key:*`;
// `key` alone asks for the bare tag. A backslash takes its meaning from any of
// `|*!:=\`. A series without the key passes only with the `!`.
//
// It also reads PromQL's `key=value`, `key!=value`, `key=~regexp` and `key!~regexp`, in
// which a series without the key has the empty value. What follows the operator is
// taken as it is, backslashes and all. The first of the operators or the colon that no
// backslash precedes decides.
func ParseFilter(s string) (*matcher.Matcher, error) {
	not, rest := false, s
	if strings.HasPrefix(rest, "!") {
		not, rest = true, rest[1:]
	}
	var key strings.Builder
	i := 0
	for ; i < len(rest) && rest[i] != ':'; i++ {
		if op := operatorAt(rest[i:]); op != 0 {
			if not || key.Len() == 0 {
				break
			}
			return matcher.New(key.String(), op, rest[i+len(op.String()):])
		}
		if rest[i] == '\\' && i+1 < len(rest) {
			i++
		}
		key.WriteByte(rest[i])
	}
	switch {
	case key.Len() == 0:
		return nil, fmt.Errorf("filter %q has no tag key; %s", s, filterForm)
	case i < len(rest) && rest[i] != ':':
		return nil, fmt.Errorf("filter %q has both a ! before the key and an operator; %s", s, filterForm)
	case i < len(rest):
		i++ // the colon
	}
	return matcher.Any(key.String(), not, parsePatterns(rest[i:])...), nil
}

// operatorAt returns the operator that s begins with; 0: it begins with none.
func operatorAt(s string) matcher.Op {
	for _, op := range []matcher.Op{matcher.Regexp, matcher.NotRegexp, matcher.NotEqual, matcher.Equal} {
		if strings.HasPrefix(s, op.String()) {
			return op
		}
	}
	return 0
}

func parsePatterns(s string) []matcher.Pattern {
	var all []matcher.Pattern
	var p matcher.Pattern
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
