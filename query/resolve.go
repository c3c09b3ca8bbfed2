package query

import (
	"cmp"
	"fmt"
	"strings"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

func compareIDs(a, b metric.ID) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}

// resolve chooses the metrics of an operand, which are of one kind: the one that was asked
// for, or the only one that there is, or the first that has the function. It fills in the
// operand's Kind and Fn.
func (o *Operand) resolve(rd *Reading) (ids []metric.ID, warnings []string, err error) {
	known := rd.Kinds(o.Metric)
	byKind := make(map[metric.Kind][]metric.ID) // of a pattern
	if len(known) == 0 && strings.Contains(o.Metric, "*") {
		pattern := matcher.Any("", false, parsePatterns(strings.ReplaceAll(o.Metric, "|", `\|`))...)
		for _, id := range rd.IDs() {
			if pattern.MatchValue(id.Name) {
				byKind[id.Kind] = append(byKind[id.Kind], id)
			}
		}
		for _, k := range metric.Kinds {
			if len(byKind[k]) > 0 {
				known = append(known, k)
			}
		}
	}
	if len(byKind[o.Kind]) > 0 {
		known = []metric.Kind{o.Kind}
	}
	kind := o.Kind
	if kind == 0 {
		kind = firstWith(o.Fn, known)
		if len(known) > 1 {
			warnings = append(warnings, fmt.Sprintf("the name %q stands for %d metrics: %s; this is the %s, and the parameter kind selects another", o.Metric, len(known), kindList(known), kind))
		}
	}
	if o.Fn == "" {
		o.Fn = fnsOf[kind][0]
	}
	if !o.Fn.of(kind) {
		return nil, nil, paramErrorf("fn", "%q is a %s, which has no %s; it has %s", o.Metric, kind, o.Fn, FnNames(kind))
	}
	o.Kind = kind
	if ids = byKind[kind]; len(ids) > 0 {
		return ids, warnings, nil
	}
	found := false
	for _, k := range known {
		found = found || k == kind
	}
	if !found {
		what := "named"
		if strings.Contains(o.Metric, "*") {
			what = "with a name like"
		}
		warnings = append(warnings, fmt.Sprintf("no %s %s %q is known; it appears with its first event", kind, what, o.Metric))
	}
	return []metric.ID{{Name: o.Metric, Kind: kind}}, warnings, nil
}

// firstWith returns the first of known that has the function; if none does, the
// first; if none is known, the first kind of all that has it.
func firstWith(f Fn, known []metric.Kind) metric.Kind {
	for _, k := range known {
		if f == "" || f.of(k) {
			return k
		}
	}
	if len(known) > 0 {
		return known[0]
	}
	for _, k := range metric.Kinds {
		if f == "" || f.of(k) {
			return k
		}
	}
	return metric.Counter
}

func kindList(kinds []metric.Kind) string {
	s := ""
	for i, k := range kinds {
		if i > 0 {
			s += " and "
		}
		s += "a " + k.String()
	}
	return s
}
