package cli

import (
	"math"
	"strconv"
	"strings"
)

// number prints v as the API does: whole numbers without an exponent.
func number(v *float64) string {
	if v == nil {
		return ""
	}
	if *v > -1<<53 && *v < 1<<53 {
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	return strconv.FormatFloat(*v, 'g', -1, 64)
}

// exact writes every digit of v, in groups: 1234567.5 is 1,234,567.5.
func exact(v float64) string {
	text := number(&v)
	whole, fraction, has := strings.Cut(text, ".")
	if strings.ContainsAny(text, "eIN") {
		return text
	}
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "-", whole[1:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if has {
		whole += "." + fraction
	}
	return sign + whole
}

// digits rounds v to so many significant ones.
func digits(v float64, n int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', n, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// places rounds v to so many decimal places.
func places(v float64, n int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'f', n, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// noise is how much of a sum of decimal fractions is binary noise at most.
const noise = 1e-12

// sumText writes a sum for reading: one with more than six decimals is rounded, and says so.
func sumText(v float64) string {
	if math.Abs(v) < 1e-6 || math.Abs(v) >= 1e21 || math.IsNaN(v) {
		return exact(v)
	}
	r := places(v, 6)
	if math.Abs(r-v) <= math.Abs(v)*noise {
		return exact(r)
	}
	return "≈ " + exact(r)
}

// cell writes a number for a table: with at most three decimals, or two significant digits
// where it is tiny.
func cell(v float64) string {
	switch size := math.Abs(v); {
	case size != 0 && size < 0.001:
		return exact(digits(v, 2))
	case size >= 1e21:
		return exact(v)
	}
	return exact(places(v, 3))
}

// compact writes a short number for an axis: 1500 is 1.5k.
func compact(v float64) string {
	size := math.Abs(v)
	for _, u := range []struct {
		of     float64
		suffix string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if size >= u.of && size < 1e18 {
			return strconv.FormatFloat(digits(v/u.of, 6), 'f', -1, 64) + u.suffix
		}
	}
	return strconv.FormatFloat(digits(v, 6), 'g', -1, 64)
}

// few are the digits of an estimate or a quotient that say something.
const few = 4

func rounded(v float64) float64 {
	if math.Abs(v) >= 1000 {
		return math.Round(v)
	}
	return digits(v, few)
}

func percent(v float64) string { return exact(digits(100*v, few)) + "%" }

// span writes a length of time in its largest whole unit: 600 is 10m.
func span(seconds float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{86400, "d"}, {3600, "h"}, {60, "m"}} {
		if seconds > 0 && math.Mod(seconds, u.of) == 0 {
			return strconv.FormatFloat(seconds/u.of, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(seconds, 'f', -1, 64) + "s"
}
