package query

import (
	"strconv"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// Deletion asks for series to be deleted: all of a metric, or those that match.
type Deletion struct {
	Metric  string
	Kind    metric.Kind // 0: that of the metric with the name; there must be one only
	Filters matcher.List
	DryRun  bool // it is only asked what would go
}

// deletionParams are those that a deletion may have.
var deletionParams = []string{"metric", "kind", "filter", "dry_run"}

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
	// Who misspells it must not lose what he only asked about.
	if v := get("dry_run"); len(v) > 0 {
		if d.DryRun, err = strconv.ParseBool(v[0]); err != nil {
			return d, paramErrorf("dry_run", "dry_run %q is not 0 or 1", v[0])
		}
	}
	return d, nil
}
