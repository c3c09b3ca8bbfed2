package promql

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"cairn/internal/metric"
	"cairn/query"
)

// Lookup asks what series, labels or values there are.
type Lookup struct {
	Match []string // selectors, of which one must match; none: everything
	// Start and End bound, inclusive and in seconds, when a metric had an event: metrics whose last one is
	// before Start are left out. The index knows no more of times.
	Start, End float64
	Limit      int // of the answer; 0: no limit
}

// matched is the metrics that a Lookup is for.
type matched struct {
	exposure
	filters filters
}

// find calls visit with the metrics that match, by one selector after another; with some of
// them perhaps more than once.
func (e *Engine) find(ctx context.Context, q *Lookup, visit func(*query.Reading, matched) error) error {
	for made := make(matchers); ; {
		err := e.findIn(ctx, q, made, visit)
		if err == nil {
			return nil
		}
		if err := query.Settle(ctx, err); err != nil {
			return early(ctx, err)
		}
	}
}

// findIn is find in one view.
func (e *Engine) findIn(ctx context.Context, q *Lookup, made matchers, visit func(*query.Reading, matched) error) error {
	sets := make([][]*labels.Matcher, 0, len(q.Match))
	for _, text := range q.Match {
		if len(text) > MaxQuery {
			return badf("invalid parameter \"match[]\": it has %d bytes; %d are allowed", len(text), MaxQuery)
		}
		if err := checkRegexps(text); err != nil {
			return err
		}
		ms, err := e.parser.ParseMetricSelector(text)
		if err != nil {
			return badf("invalid parameter \"match[]\": %s", err)
		}
		if !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches("") }) {
			return badf("invalid parameter \"match[]\": match[] must contain at least one non-empty matcher")
		}
		sets = append(sets, ms)
	}
	if len(q.Match) == 0 {
		sets = append(sets, nil)
	}
	rd, err := e.exec.Begin(ctx)
	if err != nil {
		return err
	}
	defer rd.Close()
	seen := make(map[metric.ID]metric.UnixSec)
	live := make(map[metric.ID]bool)
	for _, m := range rd.Metrics() {
		seen[m.ID] = max(seen[m.ID], m.LastSeen)
		live[m.ID] = live[m.ID] || m.Series > 0
	}
	n := &names{rd: rd}
	for _, ms := range sets {
		f, err := filtersOf(ms, made)
		if err != nil {
			return err
		}
		of := n.list()
		if len(f.names) > 0 {
			if of, err = n.find(f.names); err != nil {
				return err
			}
		}
		for _, x := range of {
			last := seen[x.id]
			if !live[x.id] || last > 0 && float64(last)+1 < q.Start {
				continue
			}
			m := matched{exposure: x}
			if m.filters, err = f.of(x.part); err != nil {
				return err
			}
			if err := visit(rd, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// whole reports whether all series of the metric match.
func (m *matched) whole() bool { return len(m.filters.native)+len(m.filters.rest) == 0 }

// each calls visit with the tags of each series that matches; one may come twice.
func (m *matched) each(rd *query.Reading, visit func([]query.GroupTag)) error {
	all, err := rd.Tagsets(m.id, m.filters.native)
	if err != nil {
		return err
	}
	var tags []query.GroupTag
	for _, ts := range all {
		if err := rd.Err(); err != nil {
			return err
		}
		tags = groupTags(ts, tags)
		if m.filters.pass(tags) {
			visit(tags)
		}
	}
	return nil
}

// Labelsets are the labels of series.
type Labelsets struct{ all []labels.Labels }

// Len is how many there are.
func (l *Labelsets) Len() int { return len(l.all) }

// Append appends them as an array of objects.
func (l *Labelsets) Append(b []byte) []byte {
	b = append(b, '[')
	for i, ls := range l.all {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendLabels(b, ls)
	}
	return append(b, ']')
}

// Series returns those that match. Those of name_bucket come without the label le, which depends on
// what was observed. cut reports whether there were more than the limit.
func (e *Engine) Series(ctx context.Context, q Lookup) (out *Labelsets, cut bool, err error) {
	out = &Labelsets{}
	var of labeler
	err = e.find(ctx, &q, func(rd *query.Reading, m matched) error {
		return m.each(rd, func(tags []query.GroupTag) {
			if m.part == buckets {
				tags = slices.DeleteFunc(tags, func(t query.GroupTag) bool { return t.Key == le }) // a bound's place
			}
			out.all = append(out.all, of.of(m.name(), tags, ""))
		})
	})
	if err != nil {
		return nil, false, err
	}
	slices.SortFunc(out.all, labels.Compare)
	out.all = slices.CompactFunc(out.all, labels.Equal)
	out.all, cut = limited(out.all, q.Limit)
	return out, cut, nil
}

// LabelNames returns the names of labels, sorted.
func (e *Engine) LabelNames(ctx context.Context, q Lookup) (out []string, cut bool, err error) {
	found := make(map[string]bool)
	err = e.find(ctx, &q, func(rd *query.Reading, m matched) error {
		found[model.MetricNameLabel] = true
		if m.part == buckets {
			found[le] = true
		}
		if m.whole() {
			rd.Tags(m.id, func(t metric.Tag) { found[t.Key] = true })
			return nil
		}
		return m.each(rd, func(tags []query.GroupTag) {
			for _, t := range tags {
				found[t.Key] = true
			}
		})
	})
	if err != nil {
		return nil, false, err
	}
	out, cut = limited(sortedKeys(found), q.Limit)
	return out, cut, nil
}

// LabelValues returns the values of a label, sorted; of a key with several, each by itself. name
// may be escaped as U__ says.
func (e *Engine) LabelValues(ctx context.Context, name string, q Lookup) (out []string, cut bool, err error) {
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return nil, false, badf("invalid label name: %q", name)
	}
	found := make(map[string]bool)
	err = e.find(ctx, &q, func(rd *query.Reading, m matched) error {
		switch {
		case name == model.MetricNameLabel && m.whole():
			found[m.name()] = true
			return nil
		case name == le && m.part == buckets:
			found[infinite] = true // the others depend on what was observed
			return nil
		case m.whole():
			rd.Tags(m.id, func(t metric.Tag) {
				if t.Key == name {
					found[valueOf(t.Value)] = true
				}
			})
			return nil
		}
		return m.each(rd, func(tags []query.GroupTag) {
			if name == model.MetricNameLabel {
				found[m.name()] = true
			}
			for _, t := range tags {
				if t.Key == name {
					for _, v := range t.Values {
						found[valueOf(v)] = true
					}
				}
			}
		})
	})
	if err != nil {
		return nil, false, err
	}
	out, cut = limited(sortedKeys(found), q.Limit)
	return out, cut, nil
}

// Metadata is what a name stands for.
type Metadata struct {
	Name string
	Type string // counter, gauge or histogram
	Help string
}

var kindTexts = map[metric.Kind]Metadata{
	metric.Counter:      {Type: "counter", Help: "A counter: its buckets are counts of their own, not a running total. increase() and rate() are exact."},
	metric.Gauge:        {Type: "gauge", Help: "A gauge: the last reading."},
	metric.Distribution: {Type: "histogram", Help: "A distribution, with _count, _sum and _bucket: histogram_quantile() is within 1%."},
	metric.Set:          {Type: "gauge", Help: "A set: how many different members; increase() counts those of a range."},
}

// Metadata describes metrics by name, all of them if name is "".
func (e *Engine) Metadata(ctx context.Context, name string, limit int) (out []Metadata, err error) {
	var q Lookup // which has no expression, so that each comes once
	q.Start = math.Inf(-1)
	err = e.find(ctx, &q, func(_ *query.Reading, m matched) error {
		if m.part == whole && (name == "" || name == m.id.Name || name == sanitized(m.id.Name)) {
			d := kindTexts[m.id.Kind]
			d.Name = m.id.Name
			out = append(out, d)
		}
		return nil
	})
	out, _ = limited(out, limit)
	return out, err
}

// Count is how many series a name, or something else, has.
type Count struct {
	Name  string
	Value int
}

// Statistics is for status/tsdb.
type Statistics struct {
	Series        int
	SeriesByName  []Count // the largest first
	Labels        int
	ValuesByLabel []Count
}

// Statistics counts series, with the limit largest of each list.
func (e *Engine) Statistics(ctx context.Context, limit int) (st Statistics, err error) {
	rd, err := e.exec.Begin(ctx)
	if err != nil {
		return st, early(ctx, err)
	}
	defer rd.Close()
	series := make(map[string]int)
	for _, m := range rd.Metrics() {
		series[m.ID.Name] += m.Series
		st.Series += m.Series
	}
	values := make(map[string]map[string]bool)
	for _, id := range rd.IDs() {
		if err := ctx.Err(); err != nil {
			return st, early(ctx, err)
		}
		rd.Tags(id, func(t metric.Tag) {
			if values[t.Key] == nil {
				values[t.Key] = make(map[string]bool)
			}
			values[t.Key][t.Value] = true
		})
	}
	for k, v := range values {
		st.ValuesByLabel = append(st.ValuesByLabel, Count{k, len(v)})
	}
	for k, n := range series {
		if n > 0 {
			st.SeriesByName = append(st.SeriesByName, Count{k, n})
		}
	}
	st.Labels = len(values)
	for _, list := range []*[]Count{&st.SeriesByName, &st.ValuesByLabel} {
		slices.SortFunc(*list, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Value, a.Value), strings.Compare(a.Name, b.Name)) })
		*list, _ = limited(*list, limit)
	}
	return st, nil
}

func limited[T any](list []T, limit int) ([]T, bool) {
	if limit > 0 && len(list) > limit {
		return list[:limit], true
	}
	return list, false
}

func sortedKeys(set map[string]bool) []string {
	out := make([]string, 0, len(set))
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
