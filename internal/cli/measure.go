package cli

import (
	"math"
	"regexp"
	"strings"
)

// measure is what the numbers of an answer are: a function of a kind of metric. Both are ""
// where nobody said: of PromQL and of expressions.
type measure struct{ kind, fn string }

var percentile = regexp.MustCompile(`^p\d+(\.\d+)?$`)

func (m measure) share() bool {
	return strings.HasPrefix(m.fn, "above:") || strings.HasPrefix(m.fn, "below:")
}

// counts reports whether the total tells how many there were.
func (m measure) counts() bool { return m.fn == "count" || m.fn == "rate" }

// additive reports whether the numbers of two series add up to that of both.
func (m measure) additive() bool { return m.counts() || m.fn == "sum" }

// things are what is counted.
func (m measure) things() string {
	switch m.kind {
	case "gauge":
		return "readings"
	case "distribution":
		return "observations"
	case "set":
		return "members"
	}
	return "units"
}

// name is the function in words.
func (m measure) name() string {
	if side, x, ok := strings.Cut(m.fn, ":"); ok && m.share() {
		return "share " + side + " " + printable(x)
	}
	switch m.fn {
	case "last":
		return "last reading"
	case "avg":
		return "average"
	case "min":
		return "minimum"
	case "max":
		return "maximum"
	case "":
		return "value"
	}
	return printable(m.fn)
}

// totalName says what the number of the whole range is; that of a rate is the count.
func (m measure) totalName() string {
	name := m.name()
	switch {
	case m.counts():
		name = "count"
	case m.fn == "last":
		return "last reading in the range"
	}
	return name + " over the range"
}

// pointName says what each point is.
func (m measure) pointName(step string) string {
	switch m.fn {
	case "rate":
		return m.things() + " per second"
	case "count":
		return m.things() + " per " + step
	case "":
		return "value every " + step
	}
	return m.name() + " of each " + step
}

// total writes the number of the whole range with its unit, all of its digits where it is exact.
func (m measure) total(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case m.share():
		return percent(*v)
	case m.fn == "uniques":
		return exact(math.Round(*v)) + " (within 2%)"
	case m.fn == "avg":
		return exact(rounded(*v))
	case percentile.MatchString(m.fn):
		return exact(rounded(*v)) + " (within 1%)"
	case m.counts():
		return sumText(*v) + " " + m.things()
	}
	return sumText(*v)
}

// bare is total without unit, for a column.
func (m measure) bare(v *float64) string {
	text, _, _ := strings.Cut(m.total(v), " (")
	return strings.TrimSuffix(text, " "+m.things())
}

// point writes the number of one bucket.
func (m measure) point(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case m.share():
		return percent(*v)
	case m.fn == "uniques":
		return exact(math.Round(*v))
	case m.fn == "avg" || percentile.MatchString(m.fn):
		return exact(rounded(*v))
	}
	return cell(*v)
}

// axis writes a number beside the value axis.
func (m measure) axis(v float64) string {
	if m.share() {
		return compact(100*v) + "%"
	}
	return compact(v)
}
