package query

import (
	"errors"
	"fmt"
	"math"
	"slices"
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
	Operand
	From metric.UnixSec // inclusive
	To   metric.UnixSec // exclusive
	Step int64          // seconds
	Auto bool           // a longer step is as good: this one was chosen by the length of the range
	// Calendar makes the steps those of a calendar in Zone, not the zero Span: Step is their
	// usual length then.
	Calendar Span
	Zone     *time.Location // nil: UTC
	Limit    int            // series in the answer, the largest totals first

	// Top and Bottom ask for so many groups, those with the largest or smallest totals, and
	// for all others folded into one. 0: not so.
	Top, Bottom int
	// Zero makes a point 0 that has no event, where none can come any more.
	Zero bool
	// Cumulative makes each point that of all steps up to it.
	Cumulative bool

	// Expr, if there is one, is what is made of Operands instead of the request's own: the
	// operand of the letter 'a' is Operands['a'].
	Expr     *Expr
	Operands map[byte]Operand
}

// Operand is what is read, and how.
type Operand struct {
	Metric  string      // a name, or, where none is the same, a pattern of names with *
	Kind    metric.Kind // 0: that of the metric with the name
	Filters matcher.List
	Group   Grouping
	Fn      Fn
	Shift   int64 // seconds: what was so much earlier stands at the times of the range
}

// ParamError says which parameter is wrong, in a sentence.
type ParamError struct{ Param, Sentence string }

// Error implements error.
func (e *ParamError) Error() string { return e.Sentence }

func paramErrorf(param, format string, args ...any) error {
	return &ParamError{param, fmt.Sprintf(format, args...)}
}

// params are those that a request may have, and operandParams those of them that each
// letter of an expression may have as its own.
var (
	params        = []string{"metric", "filter", "by", "without", "from", "to", "step", "tz", "fn", "kind", "shift", "fill", "cumulative", "limit", "top", "bottom", "expr"}
	operandParams = []string{"metric", "filter", "by", "without", "fn", "kind", "shift"}
)

// repeatable are those that may be given several times.
var repeatable = []string{"filter", "by", "without"}

// ParseRequest reads a request out of parameters, of which get returns all values
// and names lists all that are there. now is the time that `now` stands for: the
// end of the current second.
func ParseRequest(names []string, get func(name string) []string, now time.Time) (r Request, err error) {
	one := func(name, def string) string {
		if v := get(name); len(v) > 0 && v[0] != "" {
			return v[0]
		}
		return def
	}
	if text := one("expr", ""); text != "" {
		names, err = r.parseExpr(text, names, get)
	} else if err = checkNames(names, params, get); err == nil {
		r.Operand, err = parseOperand(get)
	}
	if err != nil {
		return r, err
	}
	if err := checkNames(names, params, get); err != nil {
		return r, err
	}
	if err := r.parseRange(one, metric.SecOf(now)+1); err != nil {
		return r, err
	}
	if err := r.parseShape(one); err != nil {
		return r, err
	}
	return r, r.align()
}

// parseExpr reads the expression and its operands, and returns the names of the other
// parameters. A letter's own parameters come before those that all share.
func (r *Request) parseExpr(text string, names []string, get func(string) []string) (others []string, err error) {
	if r.Expr, err = ParseExpr(text); err != nil {
		return nil, &ParamError{"expr", err.Error()}
	}
	letters := r.Expr.Letters()
	own := make(map[byte][]string)
	for _, n := range names {
		switch letter, name, ok := strings.Cut(n, "."); {
		case !ok:
			others = append(others, n)
		case len(letter) != 1 || strings.IndexByte(letters, letter[0]) < 0:
			return nil, paramErrorf(n, "the parameter %q is for the operand %q, which is not in expr %q", n, letter, text)
		case !slices.Contains(operandParams, name):
			return nil, paramErrorf(n, "the parameter %q is not known; an operand has %s", n, strings.Join(operandParams, ", "))
		case !slices.Contains(repeatable, name) && len(get(n)) > 1:
			return nil, paramErrorf(n, "the parameter %s is given %d times; once is allowed", n, len(get(n)))
		default:
			own[letter[0]] = append(own[letter[0]], name)
		}
	}
	r.Operands = make(map[byte]Operand)
	for _, letter := range []byte(letters) {
		prefix := string(letter) + "."
		op, err := parseOperand(func(name string) []string {
			if slices.Contains(own[letter], name) {
				return get(prefix + name)
			}
			return get(name)
		})
		var p *ParamError
		if errors.As(err, &p) && (slices.Contains(own[letter], p.Param) || p.Param == "metric") {
			return nil, &ParamError{prefix + p.Param, strings.Replace(p.Sentence, "the parameter metric is", "the parameter "+prefix+"metric is", 1)}
		}
		if err != nil {
			return nil, err
		}
		r.Operands[letter] = op
	}
	return others, nil
}

func parseOperand(get func(string) []string) (o Operand, err error) {
	one := func(name string) string {
		if v := get(name); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	if o.Metric = one("metric"); o.Metric == "" {
		return o, paramErrorf("metric", "the parameter metric is missing; GET /api/metrics lists the names")
	}
	if o.Filters, err = parseFilters(get); err != nil {
		return o, err
	}
	if o.Group, err = parseGrouping(get); err != nil {
		return o, err
	}
	o.Fn = Fn(one("fn"))
	if err := checkFn(o.Fn); err != nil {
		return o, err
	}
	if o.Kind, err = ParseKind(one("kind")); err != nil {
		return o, err
	}
	if s := one("shift"); s != "" {
		// Both -1d and 1d are read as a day ago: nobody asks for the future.
		if o.Shift, err = ParseDuration(strings.TrimPrefix(s, "-")); err != nil {
			return o, &ParamError{"shift", err.Error()}
		}
	}
	return o, nil
}

// parseGrouping reads `by` and `without`.
func parseGrouping(get func(string) []string) (g Grouping, err error) {
	by, without := keyList(get("by")), keyList(get("without"))
	switch {
	case len(by) > 0 && len(without) > 0:
		return g, paramErrorf("without", "both by and without are given; one of them says how series are grouped")
	case len(by) > MaxBy || len(without) > MaxBy:
		return g, paramErrorf("by", "%d tag keys are given; %d are allowed", max(len(by), len(without)), MaxBy)
	case len(without) > 0:
		return Grouping{Mode: WithoutKeys, Keys: without}, nil
	}
	if i := slices.Index(by, nameKey); i >= 0 {
		g.Name = true
		by = slices.Delete(by, i, i+1)
	}
	if slices.Contains(by, "*") {
		g.Mode = EachTagset
		return g, nil
	}
	g.Keys = by
	return g, nil
}

// nameKey is the tag key that stands for the metric's name.
const nameKey = "__name__"

// keyList splits lists of tag keys at their commas, and leaves out what comes again.
func keyList(lists []string) (keys []string) {
	for _, list := range lists {
		for key := range strings.SplitSeq(list, ",") {
			if key != "" && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// parseRange reads from, to, step and tz. end is what `now` stands for.
func (r *Request) parseRange(one func(name, def string) string, end metric.UnixSec) (err error) {
	if r.From, err = ParseTime(one("from", "-1h"), end); err != nil {
		return &ParamError{"from", err.Error()}
	}
	if r.To, err = ParseTime(one("to", "now"), end); err != nil {
		return &ParamError{"to", err.Error()}
	}
	if tz := one("tz", ""); tz != "" {
		if r.Zone, err = time.LoadLocation(tz); err != nil || tz == "Local" {
			return paramErrorf("tz", "time zone %q is not known; use a name such as UTC, Europe/Berlin or America/New_York", tz)
		}
	}
	if r.Step, r.Calendar, err = ParseStep(one("step", "auto")); err != nil {
		return &ParamError{"step", err.Error()}
	}
	return nil
}

// parseShape reads what the answer is to look like.
func (r *Request) parseShape(one func(name, def string) string) (err error) {
	number := func(name string, def int) (n int, err error) {
		text := one(name, "")
		if text == "" {
			return def, nil
		}
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > MaxLimit {
			return 0, paramErrorf(name, "%s %q is not a whole number from 1 to %d", name, text, MaxLimit)
		}
		return n, nil
	}
	if r.Limit, err = number("limit", DefaultLimit); err != nil {
		return err
	}
	if r.Top, err = number("top", 0); err != nil {
		return err
	}
	if r.Bottom, err = number("bottom", 0); err != nil {
		return err
	}
	switch {
	case r.Top > 0 && r.Bottom > 0:
		return paramErrorf("bottom", "both top and bottom are given; one of them can be folded beside")
	case r.Top+r.Bottom > 0 && r.Expr != nil:
		return paramErrorf("top", "top and bottom fold groups before they are read, which an expression cannot be; use limit")
	}
	switch fill := one("fill", "null"); fill {
	case "null":
	case "zero":
		r.Zero = true
	default:
		return paramErrorf("fill", "fill %q is not null or zero", fill)
	}
	if text := one("cumulative", "0"); text != "0" {
		if r.Cumulative, err = strconv.ParseBool(text); err != nil {
			return paramErrorf("cumulative", "cumulative %q is not 0 or 1", text)
		}
	}
	return nil
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
		if !slices.Contains(repeatable, n) && len(get(n)) > 1 {
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
	// Days have 23 and 25 hours where the clocks change, and weeks begin on Mondays.
	if days := r.Step / day; r.Calendar == (Span{}) && r.Step%day == 0 && (days%7 == 0 || r.Zone != nil && r.Zone != time.UTC) {
		r.Calendar = Span{Days: int(days)}
	}
	g := r.grid()
	r.From, r.To = g.From, g.To
	return checkPoints(&g)
}

// grid returns the steps that the request asks for.
func (r *Request) grid() Grid {
	if r.Calendar == (Span{}) {
		return EvenGrid(r.From, r.To, r.Step)
	}
	return CalendarGrid(r.From, r.To, r.Calendar, r.zone())
}

func (r *Request) zone() *time.Location {
	if r.Zone == nil {
		return time.UTC
	}
	return r.Zone
}

const day = 24 * 3600

func checkPoints(g *Grid) error {
	if n := g.Len(); n > MaxPoints {
		return &LimitError{Param: "step", Sentence: fmt.Sprintf("a step of %ds over this range makes %d points; %d are allowed: take a longer step or a shorter range", g.Step, n, MaxPoints)}
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

// ParseStep reads `auto` as 0, a duration as its seconds, and months (`1mo`) and years as
// those of a calendar.
func ParseStep(s string) (seconds int64, calendar Span, err error) {
	if s == "auto" {
		return 0, Span{}, nil
	}
	for unit, months := range map[string]int{"mo": 1, "y": 12} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			if n, err := strconv.Atoi(digits); err == nil && n > 0 && n <= 1200 {
				calendar = Span{Months: n * months}
				return calendar.seconds(), calendar, nil
			}
		}
	}
	d, err := ParseDuration(s)
	if err != nil || d == 0 {
		return 0, Span{}, fmt.Errorf("step %q is not understood; use auto, or whole seconds, minutes, hours, days, weeks, months or years such as 1s, 10s, 5m, 1h, 1d, 1w, 1mo, 1y", s)
	}
	return d, Span{}, nil
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
