package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/query"
)

// isPromQL tells of what to ask for whether it is PromQL: no metric name is usually written
// with what makes an expression.
func isPromQL(text string) bool { return strings.ContainsAny(text, "({[ ") }

// promPoints is how many points a series an automatic step makes at most: enough for the
// width of a terminal.
const promPoints = 250

// promSteps are what an automatic step is chosen from, in seconds.
var promSteps = []int64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400, 30 * 86400}

// promRange are the times at which PromQL is evaluated: every step from start to end, both
// included, in Unix seconds.
type promRange struct{ start, end, step float64 }

// points is how many times these are.
func (p promRange) points() int { return int(math.Floor((p.end-p.start)/p.step+1e-9)) + 1 }

// resolve reads times as flags have them. Start and end are set back to whole steps, so that
// the points stand still when the same is asked again.
func resolve(from, to, step string, now time.Time) (p promRange, err error) {
	sec := metric.SecOf(now)
	start, err := query.ParseTime(from, sec)
	if err != nil {
		return p, fmt.Errorf("from: %w", err)
	}
	end, err := query.ParseTime(to, sec)
	if err != nil {
		return p, fmt.Errorf("to: %w", err)
	}
	if start > end {
		return p, fmt.Errorf("from (%s) is after to (%s)", from, to)
	}
	if p.step, err = promStep(step, int64(end-start)); err != nil {
		return p, err
	}
	p.start = math.Floor(float64(start)/p.step) * p.step
	p.end = math.Floor(float64(end)/p.step) * p.step
	if n := p.points(); n > query.MaxPoints {
		return p, fmt.Errorf("a step of %s over this range makes %d points; %d are allowed: take a longer step or a shorter range", span(p.step), n, query.MaxPoints)
	}
	return p, nil
}

// promStep reads a step: auto, seconds or a duration.
func promStep(text string, length int64) (float64, error) {
	if text == "auto" {
		for _, s := range promSteps {
			if length < s*promPoints {
				return float64(s), nil
			}
		}
		return float64(promSteps[len(promSteps)-1]), nil
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0.001 && n <= 1e9 {
		return n, nil
	}
	n, err := query.ParseDuration(text)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("step %q is not understood; use auto, seconds, or a duration such as 10s, 5m, 1h, 1d", text)
	}
	return float64(n), nil
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// promQuestion makes the question of a PromQL query, and returns what it asks about.
func promQuestion(f *queryFlags, c clock.Clock) (q question, p promRange, err error) {
	q = question{command: "query", server: f.server, path: "api/v1/query_range", params: url.Values{"query": {f.text}}}
	if f.instant {
		at, err := query.ParseTime(f.to, metric.SecOf(c.Now()))
		if err != nil {
			return q, p, fmt.Errorf("to: %w", err)
		}
		q.path = "api/v1/query"
		q.params.Set("time", strconv.FormatInt(int64(at), 10))
		return q, promRange{float64(at), float64(at), 1}, nil
	}
	if p, err = resolve(f.from, f.to, f.step, c.Now()); err != nil {
		return q, p, err
	}
	q.params.Set("start", decimal(p.start))
	q.params.Set("end", decimal(p.end))
	q.params.Set("step", decimal(p.step))
	return q, p, nil
}

// promAnswer is the JSON of Prometheus' query and query_range.
type promAnswer struct {
	Status string `json:"status"`
	Data   *struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
	Warnings []string `json:"warnings"`
	Infos    []string `json:"infos"`
}

// promSeries is an element of a matrix or a vector.
type promSeries struct {
	Metric     map[string]string `json:"metric"`
	Value      *promPoint        `json:"value"`
	Histogram  *promPoint        `json:"histogram"`
	Values     []promPoint       `json:"values"`
	Histograms []promPoint       `json:"histograms"`
}

// promPoint is a time in Unix seconds with a number, or with a histogram's count.
type promPoint struct {
	at, value float64
	text      string // where the value is a string
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *promPoint) UnmarshalJSON(b []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("a point is not a time and a value")
	}
	if err := json.Unmarshal(pair[0], &p.at); err != nil {
		return err
	}
	if json.Unmarshal(pair[1], &p.text) != nil {
		var h struct{ Count string }
		if err := json.Unmarshal(pair[1], &h); err != nil {
			return err
		}
		p.text = h.Count
	}
	p.value, _ = strconv.ParseFloat(p.text, 64) // a string literal's point has none
	return nil
}

// readPromQL reads what was answered at the times p. An error says what is not as it must be.
func readPromQL(body []byte, title string, p promRange, zone *time.Location) (*result, error) {
	var a promAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	if a.Status != "success" || a.Data == nil {
		return nil, errors.New("it has no data")
	}
	r := &result{title: title, promql: true, from: p.start, to: p.end, step: p.step, zone: zone, warnings: append(a.Warnings, a.Infos...), lines: true}
	for i := range p.points() {
		r.times = append(r.times, p.start+float64(i)*p.step)
	}
	var list []promSeries
	switch a.Data.ResultType {
	case "scalar", "string":
		var one promPoint
		if err := json.Unmarshal(a.Data.Result, &one); err != nil {
			return nil, err
		}
		if a.Data.ResultType == "string" {
			r.series, r.matched = []row{{tags: map[string][]string{"string": {one.text}}, values: make([]*float64, len(r.times))}}, 1
			return r, nil
		}
		list = []promSeries{{Value: &one}}
	case "vector", "matrix":
		if err := json.Unmarshal(a.Data.Result, &list); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("its result is a %q", a.Data.ResultType)
	}
	histograms := 0
	for _, s := range list {
		x, isHistogram := s.row(p)
		if isHistogram {
			histograms++
		}
		r.series = append(r.series, x)
	}
	if histograms > 0 {
		r.warnings = append(r.warnings, fmt.Sprintf("%d series are histograms, of which the count is shown; histogram_quantile(0.95, …) makes numbers of them", histograms))
	}
	r.matched = len(r.series)
	slices.SortStableFunc(r.series, func(a, b row) int { return compareLast(b.last, a.last) })
	return r, nil
}

// compareLast orders values, with what is not there before all.
func compareLast(a, b *float64) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	case *a < *b:
		return -1
	case *a > *b:
		return 1
	}
	return 0
}

// row puts the points of s at their places among the times.
func (s *promSeries) row(p promRange) (x row, histogram bool) {
	x = row{tags: map[string][]string{}, values: make([]*float64, p.points())}
	for k, v := range s.Metric {
		x.tags[k] = []string{v}
	}
	points := append(s.Values, s.Histograms...)
	for _, one := range []*promPoint{s.Value, s.Histogram} {
		if one != nil {
			points = append(points, *one)
		}
	}
	for i := range points {
		if at := int(math.Round((points[i].at - p.start) / p.step)); at >= 0 && at < len(x.values) {
			x.values[at] = &points[i].value
		}
	}
	x.summarize()
	return x, len(s.Histograms) > 0 || s.Histogram != nil
}
