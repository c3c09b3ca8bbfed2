package promql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
)

// part is what of a metric a name stands for.
type part uint8

const (
	whole   part = iota // a counter, a gauge, a set, or a distribution as a native histogram
	count               // of a distribution, under name_count
	sum                 // under name_sum
	buckets             // under name_bucket, with the label le
)

var suffixes = [...]string{whole: "", count: "_count", sum: "_sum", buckets: "_bucket"}

// exposure is a name that PromQL knows, and what it is.
type exposure struct {
	id   metric.ID
	part part
}

func (e exposure) name() string { return e.id.Name + suffixes[e.part] }

// class is what is read alike.
type class struct {
	kind metric.Kind
	part part
}

func (e exposure) class() class { return class{e.id.Kind, e.part} }

// adds reports whether the buckets of a class are numbers that add up.
func (c class) adds() bool { return c.kind == metric.Counter || c.part != whole }

// sanitized returns the name that only has the characters of old Prometheus names.
func sanitized(name string) string {
	fine := func(i int) bool {
		c := name[i]
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':' || c >= '0' && c <= '9' && i > 0
	}
	for i := range len(name) {
		if !fine(i) {
			b := []byte(name)
			for j := i; j < len(b); j++ {
				if !fine(j) {
					b[j] = '_'
				}
			}
			return string(b)
		}
	}
	return name
}

// names finds metrics by name in a reading.
type names struct {
	rd  *query.Reading
	all []exposure // by name; nil: not listed yet
}

// list returns all names, each once: a counter goes before other kinds of its name, and a
// whole metric before a part of a distribution.
func (n *names) list() []exposure {
	if n.all != nil {
		return n.all
	}
	ids := n.rd.IDs() // by name, then kind
	known := make(map[string]bool, len(ids))
	n.all = make([]exposure, 0, len(ids))
	for _, p := range []part{whole, count, sum, buckets} {
		for _, id := range ids {
			e := exposure{id, p}
			if p != whole && id.Kind != metric.Distribution || known[e.name()] {
				continue
			}
			known[e.name()] = true
			n.all = append(n.all, e)
		}
	}
	slices.SortFunc(n.all, func(a, b exposure) int { return strings.Compare(a.name(), b.name()) })
	return n.all
}

// exact returns what has just that name.
func (n *names) exact(name string) (e exposure, ok bool) {
	if kinds := n.rd.Kinds(name); len(kinds) > 0 {
		return exposure{metric.ID{Name: name, Kind: kinds[0]}, whole}, true
	}
	for _, p := range []part{count, sum, buckets} {
		if base, ok := strings.CutSuffix(name, suffixes[p]); ok && slices.Contains(n.rd.Kinds(base), metric.Distribution) {
			return exposure{metric.ID{Name: base, Kind: metric.Distribution}, p}, true
		}
	}
	return e, false
}

// find returns what passes all matchers of names. A name passes = and =~ as it is; if none
// does, in its sanitized form. It passes != and !~ only in both forms.
//
// Flushes wait meanwhile: an expression that is too slow for so many names is refused.
func (n *names) find(matchers []*labels.Matcher) ([]exposure, error) {
	for _, m := range matchers {
		if m.Type != labels.MatchEqual {
			continue
		}
		if e, ok := n.exact(m.Value); ok {
			if n.pass(matchers, e, false) {
				return []exposure{e}, nil
			}
			return nil, nil
		}
		if sanitized(m.Value) != m.Value {
			return nil, nil // no sanitized name is like it
		}
	}
	if err := n.affordable(matchers); err != nil {
		return nil, err
	}
	for _, form := range []bool{false, true} {
		var found []exposure
		for _, e := range n.list() {
			if n.pass(matchers, e, form) {
				found = append(found, e)
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

// maxNameSteps is how many steps of regular expressions names may take, a step for each byte:
// half a second, as slow as they get; usual ones take a hundredth of it.
const maxNameSteps = 50_000_000

func (n *names) affordable(matchers []*labels.Matcher) error {
	size := 0
	for _, e := range n.list() {
		size += len(e.id.Name)
	}
	for _, m := range matchers {
		if m.Type != labels.MatchRegexp && m.Type != labels.MatchNotRegexp {
			continue
		}
		re, err := matcher.New(m.Name, matcher.Regexp, m.Value)
		if err != nil {
			return &BadQuery{err.Error()}
		}
		if re.Steps()*size > maxNameSteps {
			return &query.LimitError{Sentence: fmt.Sprintf("the regular expression %q is too slow for the names of %d metrics; write a simpler one, such as a prefix", m.Value, len(n.list()))}
		}
	}
	return nil
}

func (n *names) pass(matchers []*labels.Matcher, e exposure, form bool) bool {
	name := e.name()
	for _, m := range matchers {
		ok := false
		switch m.Type {
		case labels.MatchEqual, labels.MatchRegexp:
			if form {
				ok = m.Matches(sanitized(name))
			} else {
				ok = m.Matches(name)
			}
		default:
			ok = m.Matches(name) && m.Matches(sanitized(name))
		}
		if !ok {
			return false
		}
	}
	return true
}
