package query

import (
	"strconv"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// Deletion asks for series to be deleted: those of a metric that match, or all, where the
// parameter all said so.
type Deletion struct {
	Metric  string
	Kind    metric.Kind // 0: that of the metric with the name; there must be one only
	Filters matcher.List
	DryRun  bool // it is only asked what would go
}

// deletionParams are those that a deletion may have.
var deletionParams = []string{"metric", "kind", "filter", "all", "dry_run"}

// ParseDeletion reads a deletion out of parameters, as ParseRequest does a request.
func ParseDeletion(names []string, get func(name string) []string) (d Deletion, err error) {
	if err := checkNames(names, deletionParams, get); err != nil {
		return d, err
	}
	one := func(name string) string {
		if v := get(name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	if d.Metric = one("metric"); d.Metric == "" {
		return d, paramErrorf("metric", "the parameter metric is missing; GET /api/metrics lists the names")
	}
	if d.Kind, err = ParseKind(one("kind")); err != nil {
		return d, err
	}
	if d.Filters, err = parseFilters(get); err != nil {
		return d, err
	}
	// A filter that is lost on the way must not make it the whole metric.
	all, err := parseFlag(get, "all")
	switch {
	case err != nil:
		return d, err
	case all && len(d.Filters) > 0:
		return d, paramErrorf("all", "all=1 is for all series of the metric, and a filter is given; leave one of them out")
	case !all && len(d.Filters) == 0:
		return d, paramErrorf("all", "no filter is given; all=1 says that all series of the metric are meant")
	}
	d.DryRun, err = parseFlag(get, "dry_run")
	return d, err
}

// parseFlag reads a parameter that is 0 or 1: who misspells it must not lose what he only
// asked about.
func parseFlag(get func(name string) []string, name string) (set bool, err error) {
	v := get(name)
	if len(v) == 0 {
		return false, nil
	}
	if set, err = strconv.ParseBool(v[0]); err != nil {
		return false, paramErrorf(name, "%s %q is not 0 or 1", name, v[0])
	}
	return set, nil
}
