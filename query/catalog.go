package query

import (
	"cmp"
	"slices"
	"strings"

	"cairn/internal/metric"
)

// Metrics lists all metrics by name, then kind.
func (x *Executor) Metrics() ([]MetricInfo, error) {
	v, err := x.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	all := make(map[metric.ID]MetricInfo)
	for _, s := range append(slices.Clip(v.Open), v.Store) {
		for _, m := range s.Metrics() {
			sum := all[m.ID]
			all[m.ID] = MetricInfo{
				ID: m.ID, Series: sum.Series + m.Series, LastSeen: max(sum.LastSeen, m.LastSeen), Overflow: sum.Overflow || m.Overflow,
			}
		}
	}
	out := make([]MetricInfo, 0, len(all))
	for _, m := range all {
		if m.Series > 0 { // else they were deleted or have expired, and memory knows their names still
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b MetricInfo) int {
		return cmp.Or(strings.Compare(a.ID.Name, b.ID.Name), cmp.Compare(a.ID.Kind, b.ID.Kind))
	})
	return out, nil
}

// TagKey is a tag key of a metric with its values, those on most series first.
type TagKey struct {
	Key    string
	Values []TagValue
}

// TagValue is a value with the number of series that have it.
type TagValue struct {
	Value  string
	Series int
}

// Tags lists the tag keys of a metric by name, of all its kinds if k is 0; none if
// the metric is not known.
func (x *Executor) Tags(name string, k metric.Kind) ([]TagKey, error) {
	v, err := x.Acquire()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	counts := make(map[string]map[string]int)
	for _, s := range append(slices.Clip(v.Open), v.Store) {
		for _, kind := range s.Kinds(name) {
			if k != 0 && kind != k {
				continue
			}
			s.TagCounts(metric.ID{Name: name, Kind: kind}, func(t metric.Tag, n int) {
				if counts[t.Key] == nil {
					counts[t.Key] = make(map[string]int)
				}
				counts[t.Key][t.Value] += n
			})
		}
	}
	out := make([]TagKey, 0, len(counts))
	for key, values := range counts {
		k := TagKey{Key: key}
		for value, n := range values {
			k.Values = append(k.Values, TagValue{value, n})
		}
		slices.SortFunc(k.Values, func(a, b TagValue) int {
			return cmp.Or(cmp.Compare(b.Series, a.Series), strings.Compare(a.Value, b.Value))
		})
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b TagKey) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}
