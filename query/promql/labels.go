package promql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"cairn/internal/matcher"
	"cairn/internal/metric"
	"cairn/query"
)

const (
	// bare is the value of a label whose tag has none: to Prometheus, an empty one is no
	// label at all.
	bare = "true"
	// between stands between the values of a tag key that has several.
	between = ","
	le      = "le"
)

func valueOf(tag string) string {
	if tag == "" {
		return bare
	}
	return tag
}

// labelValue returns the value of the label that a tag key with some values becomes.
func labelValue(values []string) string {
	if len(values) == 1 {
		return valueOf(values[0])
	}
	shown := make([]string, len(values))
	for i, v := range values {
		shown[i] = valueOf(v)
	}
	return strings.Join(shown, between)
}

// labeler makes labels of tags.
type labeler struct{ b labels.ScratchBuilder }

// of returns the labels of a group; name is "" for none, and so is the bound.
func (l *labeler) of(name string, tags []query.GroupTag, bound string) labels.Labels {
	l.b.Reset()
	if name != "" {
		l.b.Add(model.MetricNameLabel, name)
	}
	if bound != "" {
		l.b.Add(le, bound)
	}
	for i := range tags {
		if k := tags[i].Key; k == model.MetricNameLabel || bound != "" && k == le {
			continue // not the tag's to say
		}
		l.b.Add(tags[i].Key, labelValue(tags[i].Values))
	}
	l.b.Sort()
	return l.b.Labels()
}

// groupTags returns a tagset as a group has it.
func groupTags(ts metric.Tagset, into []query.GroupTag) []query.GroupTag {
	into = into[:0]
	for t := range ts.All() {
		if n := len(into); n > 0 && into[n-1].Key == t.Key {
			into[n-1].Values = append(into[n-1].Values, t.Value)
			continue
		}
		into = append(into, query.GroupTag{Key: t.Key, Values: []string{t.Value}})
	}
	return into
}

// filters are the matchers of a selector, but for those of the name and the plan.
type filters struct {
	made   matchers
	names  []*labels.Matcher
	bounds []*labels.Matcher // of le; of tags too, but for buckets
	native matcher.List      // what Cairn's index can do of it
	rest   []*labels.Matcher // what is to be looked at again
}

// matchers are those that were made of regular expressions, by key, operator and text. They
// remember what they were tried on, for the next attempt of a query that had to let the
// view go.
type matchers map[string]*matcher.Matcher

func (ms matchers) of(key string, op matcher.Op, re string, missing bool) (*matcher.Matcher, error) {
	id := fmt.Sprintf("%q %d %t %q", key, op, missing, re)
	if ms[id] == nil {
		m, err := matcher.New(key, op, re)
		if err != nil {
			return nil, err
		}
		m.MissingIsEmpty = missing
		ms[id] = m
	}
	return ms[id], nil
}

func filtersOf(list []*labels.Matcher, made matchers) (f filters, err error) {
	f.made = made
	for _, m := range list {
		switch m.Name {
		case model.MetricNameLabel:
			f.names = append(f.names, m)
			continue
		case planLabel:
			continue
		case le:
			f.bounds = append(f.bounds, m)
			continue
		}
		if err := f.tag(m); err != nil {
			return f, err
		}
	}
	return f, nil
}

// of returns the filters for a part of a metric: a label le is a tag of any other.
func (f filters) of(p part) (filters, error) {
	if p == buckets {
		return f, nil
	}
	f.native, f.rest = slices.Clip(f.native), slices.Clip(f.rest)
	for _, m := range f.bounds {
		if err := f.tag(m); err != nil {
			return f, err
		}
	}
	return f, nil
}

// tag translates a matcher. A tag without a value has the value bare here, and none in
// the index; an absent one is empty in both.
func (f *filters) tag(m *labels.Matcher) error {
	negative := m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp
	switch m.Type {
	case labels.MatchEqual, labels.MatchNotEqual:
		switch {
		case m.Value == "":
			f.native = append(f.native, matcher.Any(m.Name, !negative, matcher.Pattern{"", ""}))
		case strings.Contains(m.Value, between):
			f.rest = append(f.rest, m) // several values together may be meant
		case m.Value == bare:
			f.native = append(f.native, matcher.Any(m.Name, negative, matcher.Pattern{bare}, matcher.Pattern{""}))
		default:
			f.native = append(f.native, matcher.Any(m.Name, negative, matcher.Pattern{m.Value}))
		}
		return nil
	}
	re, op := m.Value, matcher.Regexp
	missing := m.Matches("") != negative // whether the expression matches nothing at all
	asBare := m.Matches(bare) != negative
	if re == ".+" {
		f.native = append(f.native, matcher.Any(m.Name, negative, matcher.Pattern{"", ""}))
		return nil
	}
	if asBare && !missing {
		re = "(?:" + re + ")|"
	} else if missing && !asBare {
		f.rest = append(f.rest, m) // the index cannot tell the two apart
		return nil
	}
	if negative {
		op = matcher.NotRegexp
	}
	native, err := f.made.of(m.Name, op, re, missing)
	if err != nil {
		return &BadQuery{err.Error()}
	}
	f.native = append(f.native, native)
	return nil
}

// pass reports whether tags pass what the index could not do. Of several values of a key any
// may match, or all of them as the label shows them.
func (f *filters) pass(tags []query.GroupTag) bool {
	for _, m := range f.rest {
		negative := m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp
		values := []string{""}
		if i := slices.IndexFunc(tags, func(t query.GroupTag) bool { return t.Key == m.Name }); i >= 0 {
			values = values[:0]
			for _, v := range tags[i].Values {
				values = append(values, valueOf(v))
			}
			if len(values) > 1 {
				values = append(values, labelValue(tags[i].Values))
			}
		}
		if slices.ContainsFunc(values, func(v string) bool { return m.Matches(v) != negative }) == negative {
			return false
		}
	}
	return true
}

// passBound reports whether the bound of a bucket passes.
func (f *filters) passBound(bound string) bool {
	return !slices.ContainsFunc(f.bounds, func(m *labels.Matcher) bool { return !m.Matches(bound) })
}
