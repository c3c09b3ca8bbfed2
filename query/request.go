package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// Limits on one request, each with a reason.
const (
	// MaxPoints a series: more than any screen has pixels; Prometheus has the
	// same limit, so that tools made for it know it.
	MaxPoints = 11_000
	// MaxLimit is how many series one answer may hold: 100 MB of JSON at most.
	MaxLimit     = 1_000
	DefaultLimit = 100
	// MaxBy is how many tag keys one may group by.
	MaxBy = 16
)

// Request is one query.
type Request struct {
	Metric  string
	Filters matcher.List
	By      []string
	From    metric.UnixSec // inclusive
	To      metric.UnixSec // exclusive
	Step    int64          // seconds
	Auto    bool           // a longer step is as good: this one was chosen by the length of the range
	Fn      Fn
	Kind    metric.Kind // 0: that of the metric with the name
	Limit   int         // series in the answer, the largest totals first
}

// ParamError says which parameter is wrong, in a sentence.
type ParamError struct{ Param, Sentence string }

// Error implements error.
func (e *ParamError) Error() string { return e.Sentence }

func paramErrorf(param, format string, args ...any) error {
	return &ParamError{param, fmt.Sprintf(format, args...)}
}

// params are those that a request may have.
var params = []string{"metric", "filter", "by", "from", "to", "step", "fn", "kind", "limit"}

// ParseRequest reads a request out of parameters, of which get returns all values
// and names lists all that are there. now is the time that `now` stands for: the
// end of the current second.
func ParseRequest(names []string, get func(name string) []string, now time.Time) (Request, error) {
	r := Request{Limit: DefaultLimit}
	if err := checkNames(names, params, get); err != nil {
		return r, err
	}
	one := func(name, def string) string {
		if v := get(name); len(v) > 0 && v[0] != "" {
			return v[0]
		}
		return def
	}
	if r.Metric = one("metric", ""); r.Metric == "" {
		return r, paramErrorf("metric", "the parameter metric is missing; GET /api/metrics lists the names")
	}
	if err := r.parseTags(get); err != nil {
		return r, err
	}
	var err error
	end := metric.SecOf(now) + 1
	if r.From, err = ParseTime(one("from", "-1h"), end); err != nil {
		return r, &ParamError{"from", err.Error()}
	}
	if r.To, err = ParseTime(one("to", "now"), end); err != nil {
		return r, &ParamError{"to", err.Error()}
	}
	if r.Step, err = ParseStep(one("step", "auto")); err != nil {
		return r, &ParamError{"step", err.Error()}
	}
	r.Fn = Fn(one("fn", ""))
	if err := checkFn(r.Fn); err != nil {
		return r, err
	}
	if r.Kind, err = ParseKind(one("kind", "")); err != nil {
		return r, err
	}
	limit := one("limit", strconv.Itoa(DefaultLimit))
	if r.Limit, err = strconv.Atoi(limit); err != nil || r.Limit < 1 || r.Limit > MaxLimit {
		return r, paramErrorf("limit", "limit %q is not a whole number from 1 to %d", limit, MaxLimit)
	}
	return r, r.align()
}

// ParseKind reads the name of a kind; the empty name is 0.
func ParseKind(name string) (metric.Kind, error) {
	if name == "" {
		return 0, nil
	}
	for _, k := range metric.Kinds {
		if k.String() == name {
			return k, nil
		}
	}
	return 0, paramErrorf("kind", "kind %q is not known; use counter, gauge, distribution or set", name)
}

// checkNames refuses parameters that are not among allowed, and what is given twice that
// must not be.
func checkNames(names, allowed []string, get func(string) []string) error {
	for _, n := range names {
		known := false
		for _, p := range allowed {
			known = known || p == n
		}
		if !known {
			return paramErrorf(n, "the parameter %q is not known; there are %s", n, strings.Join(allowed, ", "))
		}
		if n != "filter" && n != "by" && len(get(n)) > 1 {
			return paramErrorf(n, "the parameter %s is given %d times; once is allowed", n, len(get(n)))
		}
	}
	return nil
}

func parseFilters(get func(string) []string) (list matcher.List, err error) {
	for _, s := range get("filter") {
		f, err := ParseFilter(s)
		if err != nil {
			return nil, &ParamError{"filter", err.Error()}
		}
		list = append(list, f)
	}
	if len(list) > maxFilters {
		return nil, paramErrorf("filter", "%d filters are given; %d are allowed", len(list), maxFilters)
	}
	return list, nil
}

func (r *Request) parseTags(get func(string) []string) (err error) {
	if r.Filters, err = parseFilters(get); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, list := range get("by") {
		for key := range strings.SplitSeq(list, ",") {
			if key != "" && !seen[key] {
				seen[key] = true
				r.By = append(r.By, key)
			}
		}
	}
	if len(r.By) > MaxBy {
		return paramErrorf("by", "%d tag keys are given; %d are allowed", len(r.By), MaxBy)
	}
	return nil
}

// autoSteps are the steps that auto chooses from, in seconds: those that people
// read easily off an axis.
var autoSteps = []int64{1, 5, 10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600, 7 * 24 * 3600}

// autoPoints is how many bars fit side by side on a screen and can be told apart.
const autoPoints = 400

// align chooses the step if need be and widens the range to whole steps.
func (r *Request) align() error {
	if r.From >= r.To {
		return paramErrorf("from", "from (%d) is not before to (%d)", r.From, r.To)
	}
	if r.Step == 0 {
		r.Auto = true
		r.Step = autoSteps[len(autoSteps)-1]
		for _, s := range autoSteps {
			if int64(r.To-r.From) <= s*autoPoints {
				r.Step = s
				break
			}
		}
	}
	r.From, r.To = r.From.Floor(r.Step), r.To.Ceil(r.Step)
	return checkPoints(r.From, r.To, r.Step)
}

func checkPoints(from, to metric.UnixSec, step int64) error {
	if n := int64(to-from) / step; n > MaxPoints {
		return paramErrorf("step", "a step of %ds over this range makes %d points; %d are allowed: take a longer step or a shorter range", step, n, MaxPoints)
	}
	return nil
}

const timeForms = "use Unix seconds, RFC 3339 such as 2026-01-02T15:04:05Z, now, or a distance back such as -1h"

// ParseTime reads Unix seconds, RFC 3339, `now`, `-1h` or `now-1h`.
func ParseTime(s string, now metric.UnixSec) (metric.UnixSec, error) {
	if back, ok := strings.CutPrefix(strings.TrimPrefix(s, "now"), "-"); ok {
		d, err := ParseDuration(back)
		if err != nil {
			return 0, fmt.Errorf("time %q is not understood; %s", s, timeForms)
		}
		return max(0, now-metric.UnixSec(d)), nil
	}
	if s == "now" {
		return now, nil
	}
	t := metric.UnixSec(0)
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if !(f >= 0 && f <= float64(metric.MaxSec)) {
			return 0, fmt.Errorf("time %q is out of range; Unix seconds from 0 to %d are allowed (milliseconds are not)", s, metric.MaxSec)
		}
		return metric.UnixSec(math.Floor(f)), nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if t = metric.SecOf(at); err != nil {
		return 0, fmt.Errorf("time %q is not understood; %s", s, timeForms)
	} else if t < 0 || t > metric.MaxSec {
		return 0, fmt.Errorf("time %q is out of range; it must not be before 1970", s)
	}
	return t, nil
}

// ParseStep reads `auto` as 0, and a duration as its seconds.
func ParseStep(s string) (int64, error) {
	if s == "auto" {
		return 0, nil
	}
	d, err := ParseDuration(s)
	if err != nil || d == 0 {
		return 0, fmt.Errorf("step %q is not understood; use auto, or whole seconds, minutes, hours or days such as 1s, 10s, 5m, 1h, 1d", s)
	}
	return d, nil
}

// maxDuration is longer than any retention, and far from overflow.
const maxDuration = 100 * 365 * 24 * 3600

// ParseDuration reads whole numbers with units, largest first or not, such as
// `90s`, `1h30m` or `2w`; s, m, h, d (24 hours) and w (7 days) are the units.
func ParseDuration(s string) (seconds int64, err error) {
	bad := fmt.Errorf("duration %q is not understood; write whole numbers with the units s, m, h, d or w, such as 90s or 1h30m", s)
	if s == "" {
		return 0, bad
	}
	var n, total int64
	digits := 0
	for _, c := range s {
		if c >= '0' && c <= '9' && digits < 10 {
			n = n*10 + int64(c-'0')
			digits++
			continue
		}
		unit, ok := map[rune]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}[c]
		if !ok || digits == 0 {
			return 0, bad
		}
		total += n * unit
		n, digits = 0, 0
		if total > maxDuration {
			return 0, fmt.Errorf("duration %q is longer than 100 years", s)
		}
	}
	if digits != 0 {
		return 0, bad
	}
	return total, nil
}
