//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"cairn/internal/metric"
)

// answer is what came back, by the value of the tag that was grouped by and the first
// second of each step. A step without a value, or with 0, is not in it.
type answer map[string]map[metric.UnixSec]float64

func (a answer) add(group string, at metric.UnixSec, v float64) {
	if v == 0 || math.IsNaN(v) {
		return
	}
	if a[group] == nil {
		a[group] = map[metric.UnixSec]float64{}
	}
	a[group][at] += v
}

// unknownError is an answer without series: the server knows no such metric, or has
// nothing of it.
type unknownError struct{ warnings []string }

func (e *unknownError) Error() string {
	return strings.Join(append([]string{"no series"}, e.warnings...), "; ")
}

// parseNative reads an answer of GET /api/query.
func (q *question) parseNative(body []byte) (answer, error) {
	var r struct {
		Times  []int64
		Series []struct {
			Tags   map[string]any
			Values []*float64
		}
		Truncated bool
		Warnings  []string
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the answer %.200q: %w", body, err)
	}
	if len(r.Series) == 0 {
		return nil, &unknownError{r.Warnings}
	}
	if r.Truncated {
		return nil, fmt.Errorf("the answer leaves series out")
	}
	a := answer{}
	for _, s := range r.Series {
		if len(s.Values) != len(r.Times) {
			return nil, fmt.Errorf("the answer has %d values for %d times", len(s.Values), len(r.Times))
		}
		group, _ := s.Tags[q.by].(string)
		for i, v := range s.Values {
			if v != nil {
				a.add(group, metric.UnixSec(r.Times[i]), *v)
			}
		}
	}
	return a, nil
}

// parseRange reads an answer of /api/v1/query_range, of either server. The window that
// ends at a time is the step that began before it.
func (q *question) parseRange(body []byte) (answer, error) {
	var r struct {
		Status string
		Data   struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the answer %.200q: %w", body, err)
	}
	if r.Status != "success" {
		return nil, fmt.Errorf("the answer %.200q is no success", body)
	}
	if len(r.Data.Result) == 0 {
		return nil, &unknownError{}
	}
	a := answer{}
	for _, s := range r.Data.Result {
		for _, p := range s.Values {
			at, ok1 := p[0].(float64)
			text, ok2 := p[1].(string)
			v, err := strconv.ParseFloat(text, 64)
			if !ok1 || !ok2 || err != nil {
				return nil, fmt.Errorf("the point %v is no time and number", p)
			}
			a.add(s.Metric[q.by], metric.UnixSec(at)-metric.UnixSec(q.step), v)
		}
	}
	return a, nil
}

// same returns how a differs from want.
func (a answer) same(want answer) error {
	if len(a) != len(want) {
		return fmt.Errorf("there are %d series and not %d", len(a), len(want))
	}
	for group, steps := range want {
		if len(a[group]) != len(steps) {
			return fmt.Errorf("series %q has %d values and not %d", group, len(a[group]), len(steps))
		}
		for at, v := range steps {
			if got := a[group][at]; math.Abs(got-v) > 1e-9*math.Abs(v) {
				return fmt.Errorf("series %q has %g at %d and not %g", group, got, at, v)
			}
		}
	}
	return nil
}

// total adds all values.
func (a answer) total() (sum float64) {
	for _, steps := range a {
		for _, v := range steps {
			sum += v
		}
	}
	return sum
}
