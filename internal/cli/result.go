package cli

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"
)

// result is what a query answered, in one form for both languages.
type result struct {
	measure
	title    string   // the metric or the expression, as it was asked for
	notes    []string // what else was asked for, such as "1d earlier"
	promql   bool
	from, to float64   // [from, to); of PromQL [from, to], Unix seconds
	step     float64   // seconds; nominal where calendar steps are uneven
	times    []float64 // ascending
	tier     string
	zone     *time.Location
	series   []row
	total    *float64 // of all series, also those that a limit cut
	matched  int      // series that the total is of
	cut      bool     // the limit left out groups
	warnings []string
	// cumulative: each point is that of all steps up to it.
	cumulative bool
	lines      bool // the points are no amounts of a bucket each: they do not add up over time
}

// row is one series of a result. What is nil is not there.
type row struct {
	tags                  map[string][]string
	other                 bool // all groups that have no row of their own
	values                []*float64
	total, min, max, last *float64
}

// answer is the JSON of GET /api/query; web/encode.go writes it.
type answer struct {
	Metric string    `json:"metric"`
	Expr   string    `json:"expr"`
	Kind   string    `json:"kind"`
	Fn     string    `json:"fn"`
	From   float64   `json:"from"`
	To     float64   `json:"to"`
	Step   float64   `json:"step"`
	Tier   string    `json:"tier"`
	Times  []float64 `json:"times"`
	Series []struct {
		Tags   map[string]tagValues `json:"tags"`
		Other  bool                 `json:"other"`
		Values []*float64           `json:"values"`
		Total  *float64             `json:"total"`
		Min    *float64             `json:"min"`
		Max    *float64             `json:"max"`
		Last   *float64             `json:"last"`
	} `json:"series"`
	Total         *float64 `json:"total"`
	SeriesMatched int      `json:"series_matched"`
	Truncated     bool     `json:"truncated"`
	Warnings      []string `json:"warnings"`
}

// tagValues are the values of a key: a string, or a list of strings.
type tagValues []string

// UnmarshalJSON implements json.Unmarshaler.
func (v *tagValues) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*v = tagValues{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(v))
}

// MarshalJSON implements json.Marshaler.
func (v tagValues) MarshalJSON() ([]byte, error) {
	if len(v) == 1 {
		return json.Marshal(v[0])
	}
	return json.Marshal([]string(v))
}

// readAnswer reads what GET /api/query answered. An error says what is not as it must be.
func readAnswer(body []byte, zone *time.Location) (*result, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	if err := a.checkTimes(); err != nil {
		return nil, err
	}
	r := &result{
		measure: measure{a.Kind, a.Fn}, title: a.Metric, from: a.From, to: a.To, step: a.Step, times: a.Times, tier: a.Tier, zone: zone,
		total: a.Total, matched: a.SeriesMatched, cut: a.Truncated, warnings: a.Warnings, lines: a.Fn != "count",
	}
	if a.Expr != "" {
		r.title, r.measure, r.lines = a.Expr, measure{}, true
	}
	for _, s := range a.Series {
		if len(s.Values) != len(a.Times) {
			return nil, errors.New("a series has another number of values than there are times")
		}
		x := row{tags: map[string][]string{}, other: s.Other, values: s.Values, total: s.Total, min: s.Min, max: s.Max, last: s.Last}
		for k, v := range s.Tags {
			x.tags[k] = v
		}
		r.series = append(r.series, x)
	}
	return r, nil
}

// instant reports whether PromQL was evaluated once.
func (r *result) instant() bool { return r.promql && len(r.times) == 1 }

// latest is the last second that an answer may speak of: it has four digits of a year.
const latest = 253_402_300_799

func (a *answer) checkTimes() error {
	if len(a.Times) == 0 || a.From < 0 || a.To > latest || !(a.Step > 0) || a.Step > latest {
		return errors.New("it has no range of time")
	}
	last := a.From - 1
	for _, t := range a.Times {
		if t <= last || t > a.To {
			return errors.New("its times are not ascending")
		}
		last = t
	}
	return nil
}

// keys returns the tag keys of all series, sorted.
func (r *result) keys() []string {
	seen := map[string]bool{}
	for i := range r.series {
		for k := range r.series[i].tags {
			seen[k] = true
		}
	}
	out := make([]string, 0, len(seen))
	for k := range seen {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// summarize fills in extremes and the last value from the values, of which NaN is none.
func (x *row) summarize() {
	for _, v := range x.values {
		if v == nil || math.IsNaN(*v) {
			continue
		}
		x.last = v
		if x.min == nil || *v < *x.min {
			x.min = v
		}
		if x.max == nil || *v > *x.max {
			x.max = v
		}
	}
}
