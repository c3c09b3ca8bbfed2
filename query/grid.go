package query

import (
	"math"
	"slices"
	"sort"
	"time"

	"cairn/internal/metric"
)

// Grid is the steps of an answer: step i is [Start(i), Start(i+1)). Even steps are
// multiples of their length since 1970, in UTC; those of a calendar begin at midnight of
// a time zone, and are as long as the days, weeks or months there.
type Grid struct {
	From, To metric.UnixSec // the start of the first step, the end of the last
	Step     int64          // seconds; of calendar steps the usual length
	bounds   []metric.UnixSec
}

// Span is a number of calendar days, or of months. The zero Span is none.
type Span struct{ Days, Months int }

// EvenGrid returns the even steps that cover [from, to).
func EvenGrid(from, to metric.UnixSec, step int64) Grid {
	return Grid{From: from.Floor(step), To: to.Ceil(step), Step: step}
}

// CalendarGrid returns the calendar's steps that cover [from, to), in a time zone. Weeks,
// which are seven days or a multiple, begin on Mondays; other days and months are counted
// from January 1970. It has no more than MaxPoints + 1 steps, the first ones.
func CalendarGrid(from, to metric.UnixSec, span Span, zone *time.Location) Grid {
	g := Grid{Step: span.seconds()}
	at := span.floor(from.Time().In(zone))
	for {
		sec := max(0, metric.SecOf(at))
		// A day that a zone skips has no length.
		if n := len(g.bounds); n == 0 || sec > g.bounds[n-1] {
			g.bounds = append(g.bounds, sec)
			if sec >= to && n > 0 || n > MaxPoints {
				break
			}
		}
		at = span.next(at)
	}
	g.From, g.To = g.bounds[0], g.bounds[len(g.bounds)-1]
	return g
}

func (s Span) seconds() int64 {
	if s.Months > 0 {
		return int64(s.Months) * 30 * 86400
	}
	return int64(s.Days) * 86400
}

// monday is how many days after a Monday 1 January 1970 was.
const monday = 3

// floor returns the start of the span that t lies in, in t's zone.
func (s Span) floor(t time.Time) time.Time {
	y, m, d := t.Date()
	if s.Months > 0 {
		n := (y-1970)*12 + int(m-1)
		return midnight(1970, time.Month(n-mod(n, s.Months)+1), 1, t.Location())
	}
	days := int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400) // that day's number, wherever
	if s.Days%7 == 0 {
		days += monday
	}
	return midnight(y, m, d-mod(days, s.Days), t.Location())
}

// next returns the start of the span after the one that begins at t.
func (s Span) next(t time.Time) time.Time {
	y, m, d := t.Date()
	return midnight(y, m+time.Month(s.Months), d+s.Days, t.Location())
}

// midnight returns the first instant of a day, which is another hour's where a zone
// changes at midnight.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if want := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Day(); t.Day() != want {
		hour, minute, sec := t.Clock()
		t = t.Add(24*time.Hour - time.Duration(hour*3600+minute*60+sec)*time.Second)
	}
	for { // where the hour after midnight comes twice, it is the first one
		earlier := t.Add(-30 * time.Minute)
		if earlier.Day() != t.Day() {
			return t
		}
		t = earlier
	}
}

func mod(a, b int) int { return (a%b + b) % b }

// Len is the number of steps.
func (g *Grid) Len() int {
	if g.bounds != nil {
		return len(g.bounds) - 1
	}
	if g.Step == 0 { // the zero Grid
		return 0
	}
	return int(int64(g.To-g.From) / g.Step)
}

// Start returns the first second of a step; that of step Len is To.
func (g *Grid) Start(i int) metric.UnixSec {
	if g.bounds != nil {
		return g.bounds[i]
	}
	return g.From + metric.UnixSec(int64(i)*g.Step)
}

// Width is the length of a step in seconds.
func (g *Grid) Width(i int) int64 { return int64(g.Start(i+1) - g.Start(i)) }

// Place returns the step that holds sec, which lies in [From, To).
func (g *Grid) Place(sec metric.UnixSec) int {
	if g.bounds != nil {
		return sort.Search(len(g.bounds), func(i int) bool { return g.bounds[i] > sec }) - 1
	}
	return int(int64(sec-g.From) / g.Step)
}

// Until returns how many steps begin before sec.
func (g *Grid) Until(sec metric.UnixSec) int {
	switch {
	case sec <= g.From:
		return 0
	case sec > g.Start(g.Len()-1):
		return g.Len()
	}
	return g.Place(sec-1) + 1
}

// Ended returns how many steps end at sec or before.
func (g *Grid) Ended(sec metric.UnixSec) int {
	switch {
	case sec < g.From:
		return 0
	case sec >= g.To:
		return g.Len()
	}
	return g.Place(sec)
}

// Divides reports whether no bucket of a tier lies in two steps.
func (g *Grid) Divides(t metric.Tier) bool {
	w := metric.UnixSec(t.Width())
	if g.bounds == nil {
		return g.From%w == 0 && g.Step%int64(w) == 0
	}
	return !slices.ContainsFunc(g.bounds, func(b metric.UnixSec) bool { return b%w != 0 })
}

// Shifted returns the same steps, some seconds later.
func (g *Grid) Shifted(by int64) Grid {
	out := Grid{From: g.From + metric.UnixSec(by), To: g.To + metric.UnixSec(by), Step: g.Step}
	if g.bounds != nil {
		out.bounds = slices.Clone(g.bounds)
		for i := range out.bounds {
			out.bounds[i] += metric.UnixSec(by)
		}
	}
	return out
}

// widened returns steps that cover the range of g and that a tier divides: even ones as
// long as need be, calendar ones with their ends at the tier's bounds before.
func (g *Grid) widened(t metric.Tier) Grid {
	w := t.Width()
	if g.bounds == nil {
		return EvenGrid(g.From, g.To, (g.Step+w-1)/w*w)
	}
	out := Grid{Step: g.Step, bounds: make([]metric.UnixSec, len(g.bounds))}
	for i, b := range g.bounds {
		out.bounds[i] = b.Floor(w)
	}
	last := len(out.bounds) - 1
	out.bounds[last] = g.bounds[last].Ceil(w)
	out.From, out.To = out.bounds[0], out.bounds[last]
	return out
}

func (g *Grid) equal(o *Grid) bool {
	return g.From == o.From && g.To == o.To && g.Step == o.Step && slices.Equal(g.bounds, o.bounds)
}

// nan returns a column without events.
func nan(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	return out
}
