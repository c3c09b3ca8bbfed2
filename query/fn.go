package query

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Fn is what is made of a bucket, as a request writes it. The empty Fn stands for
// the kind's default.
type Fn string

// Functions without a number in their name. Besides these a distribution has
// p<N>, N from 0 to 100, such as p50 or p99.9: the value that N % of the
// observations do not exceed, within 1%; and above:<x> and below:<x>: the share, 0
// to 1, of observations above or below x, those within 1% of x in neither.
const (
	Count   Fn = "count"   // counters: the sum of the events' weighted values; else how many there are
	Rate    Fn = "rate"    // count a second
	Sum     Fn = "sum"     // of all readings or observations
	Avg     Fn = "avg"     // sum / count
	Min     Fn = "min"     // the smallest reading or observation
	Max     Fn = "max"     // the largest one
	Last    Fn = "last"    // the latest reading
	Uniques Fn = "uniques" // different members, within 2%
)

// fnsOf lists the functions of each kind, its default first.
var fnsOf = map[metric.Kind][]Fn{
	metric.Counter:      {Count, Rate},
	metric.Gauge:        {Last, Avg, Min, Max, Sum, Count},
	metric.Distribution: {"p95", "p50", "p75", "p90", "p99", "p99.9", Avg, Min, Max, Sum, Count, Rate, "above:<x>", "below:<x>"},
	metric.Set:          {Uniques},
}

// FnNames lists the functions of a kind for a sentence.
func FnNames(k metric.Kind) string {
	names := make([]string, len(fnsOf[k]))
	for i, f := range fnsOf[k] {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// checkFn says what is wrong with a function that no kind has.
func checkFn(f Fn) error {
	if f == "" {
		return nil
	}
	for _, k := range metric.Kinds {
		if f.of(k) {
			return nil
		}
	}
	if x, ok := f.threshold(); ok && math.IsNaN(x) {
		return paramErrorf("fn", "fn %q needs a number after the colon, such as above:250", string(f))
	}
	return paramErrorf("fn", "fn %q is not known; counters have %s; gauges %s; distributions %s; sets %s", string(f),
		FnNames(metric.Counter), FnNames(metric.Gauge), FnNames(metric.Distribution), FnNames(metric.Set))
}

// of reports whether buckets of kind k have the function.
func (f Fn) of(k metric.Kind) bool {
	if k == metric.Distribution {
		if _, ok := f.quantile(); ok {
			return true
		}
		if x, ok := f.threshold(); ok {
			return !math.IsNaN(x)
		}
	}
	for _, have := range fnsOf[k] {
		if f == have {
			return true
		}
	}
	return false
}

// addsUp reports whether the function of several steps together grows with each.
func (f Fn) addsUp() bool { return f == Count || f == Sum || f == Uniques }

// quantile returns the share that p<N> asks for, 0 to 1.
func (f Fn) quantile() (q float64, ok bool) {
	digits, ok := strings.CutPrefix(string(f), "p")
	if !ok || digits == "" || strings.Trim(digits, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(digits, 64)
	return n / 100, err == nil && n <= 100
}

// threshold returns the x of above:<x> or below:<x>, NaN if it is no number.
func (f Fn) threshold() (x float64, ok bool) {
	word, number, ok := strings.Cut(string(f), ":")
	if !ok || word != "above" && word != "below" {
		return 0, false
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsInf(x, 0) {
		x = math.NaN()
	}
	return x, true
}

// reader returns what the function reads out of a bucket that is step seconds
// wide. The bucket is of a kind that has the function, and not empty.
func (f Fn) reader(k metric.Kind) func(b bucket.Bucket, step float64) float64 {
	switch k {
	case metric.Gauge:
		return func(b bucket.Bucket, _ float64) float64 { return readGauge(b.(*bucket.Gauge), f) }
	case metric.Set:
		return func(b bucket.Bucket, _ float64) float64 { return b.(*bucket.Set).Estimate() }
	case metric.Distribution:
		if q, ok := f.quantile(); ok {
			return func(b bucket.Bucket, _ float64) float64 { return b.(*bucket.Distribution).Quantile(q) }
		}
		if x, ok := f.threshold(); ok {
			if strings.HasPrefix(string(f), "above") {
				return func(b bucket.Bucket, _ float64) float64 { return b.(*bucket.Distribution).Above(x) }
			}
			return func(b bucket.Bucket, _ float64) float64 { return b.(*bucket.Distribution).Below(x) }
		}
		return func(b bucket.Bucket, step float64) float64 {
			return readDistribution(b.(*bucket.Distribution), f, step)
		}
	}
	panic(fmt.Sprintf("BUG: buckets of a %s are numbers", k))
}

func readGauge(g *bucket.Gauge, f Fn) float64 {
	switch f {
	case Last:
		return g.Last
	case Avg:
		return g.Sum / g.Count
	case Min:
		return g.Min
	case Max:
		return g.Max
	case Sum:
		return g.Sum
	case Count:
		return g.Count
	}
	panic("BUG: a gauge has no " + string(f))
}

func readDistribution(d *bucket.Distribution, f Fn, step float64) float64 {
	switch f {
	case Avg:
		return d.Sum / d.Count
	case Min:
		return d.Min
	case Max:
		return d.Max
	case Sum:
		return d.Sum
	case Count:
		return d.Count
	case Rate:
		return d.Count / step
	}
	panic("BUG: a distribution has no " + string(f))
}
