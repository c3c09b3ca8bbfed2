package cli

import (
	"math"
	"strings"
	"time"
)

// scale is a value axis: from low to high, with a tick at every step.
type scale struct{ low, high, step float64 }

// newScale covers low to high, with at most so many steps between ticks at round numbers,
// which are whole ones where all values are.
func newScale(low, high float64, steps int, whole bool) scale {
	// What differs in the noise of its digits alone is the same.
	if high-low <= 1e-9*max(math.Abs(low), math.Abs(high)) {
		low, high = min(low, 0), max(high, 0)
		if high == low {
			high = 1
		}
	}
	for power := math.Floor(math.Log10((high - low) / float64(steps))); ; power++ {
		for _, m := range []float64{1, 2, 2.5, 5} {
			step := digits(m*math.Pow(10, power), 2)
			if whole && step != math.Trunc(step) {
				continue
			}
			s := scale{math.Floor(low/step+1e-9) * step, math.Ceil(high/step-1e-9) * step, step}
			if s.steps() <= steps {
				return s
			}
		}
	}
}

// steps is how many there are from low to high.
func (s scale) steps() int { return max(1, int(math.Round((s.high-s.low)/s.step))) }

// tick is the value of the nth one from below; the noise of its sum is gone.
func (s scale) tick(n int) float64 { return digits(s.low+float64(n)*s.step, 12) }

// part is where v lies, from 0, low, to 1, high.
func (s scale) part(v float64) float64 { return (v - s.low) / (s.high - s.low) }

// stride is a distance of ticks on the time axis.
type stride struct {
	seconds int64 // below a day
	days    int
	months  int
}

var strides = []stride{
	{seconds: 1}, {seconds: 2}, {seconds: 5}, {seconds: 10}, {seconds: 15}, {seconds: 30}, {seconds: 60}, {seconds: 120}, {seconds: 300},
	{seconds: 600}, {seconds: 900}, {seconds: 1800}, {seconds: 3600}, {seconds: 7200}, {seconds: 3 * 3600}, {seconds: 6 * 3600}, {seconds: 12 * 3600},
	{days: 1}, {days: 2}, {days: 7}, {days: 14}, {months: 1}, {months: 3}, {months: 6}, {months: 12}, {months: 60},
}

// length is how long it is, in seconds.
func (s stride) length() float64 {
	return float64(s.seconds) + 86400*float64(s.days) + 30*86400*float64(s.months)
}

// label is what a tick says: the time of a day, a day, or a month.
func (s stride) label(t time.Time) string {
	switch {
	case s.months > 0:
		return t.Format("Jan 2006")
	case s.days > 0:
		return t.Format("2 Jan")
	case s.seconds < 60:
		return t.Format("15:04:05")
	}
	return t.Format("15:04")
}

// era is what stands under the first tick, and under those where it changes.
func (s stride) era(t time.Time) string {
	switch {
	case s.months > 0:
		return ""
	case s.days > 0:
		return t.Format("2006")
	}
	return t.Format("2 Jan 2006")
}

// first is the first tick at or after t, and next the one after a tick. Ticks are at whole
// strides of t's zone.
func (s stride) first(t time.Time) time.Time {
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	at := midnight
	switch {
	case s.months > 0:
		m := int(t.Month()) - 1 + 12*t.Year()
		at = time.Date(0, time.Month(m-m%s.months+1), 1, 0, 0, 0, 0, t.Location())
	case s.days > 0:
		day := int(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400)
		at = midnight.AddDate(0, 0, -((day + 3) % s.days)) // weeks begin on Mondays
	}
	for at.Before(t) {
		at = s.next(at)
	}
	return at
}

func (s stride) next(t time.Time) time.Time {
	switch {
	case s.months > 0:
		return t.AddDate(0, s.months, 0)
	case s.days > 0:
		return t.AddDate(0, 0, s.days)
	case s.seconds >= 3600:
		// By the clock on the wall: a day may have another number of hours.
		at := time.Date(t.Year(), t.Month(), t.Day(), t.Hour()+int(s.seconds/3600), 0, 0, 0, t.Location())
		if at.After(t) {
			return at
		}
	}
	return t.Add(time.Duration(s.seconds) * time.Second)
}

// timeAxis writes the lines under a chart of points every step seconds: a rule with ticks,
// their labels, and the day or the year where it changes, with the zone. place tells the
// column of a time.
func timeAxis(from, to time.Time, step float64, cols int, place func(time.Time) int) (rule, labels, eras string) {
	zone := from.Location().String()
	perSecond := float64(max(1, place(to)-place(from))) / max(1e-9, to.Sub(from).Seconds())
	s := strides[len(strides)-1]
	for _, one := range strides {
		if one.length() >= 0.9*step && one.length()*perSecond >= float64(len(one.label(from))+3) {
			s = one
			break
		}
	}
	marks := []rune(strings.Repeat("─", cols))
	top, bottom := newText(cols), newText(cols)
	era := ""
	for t := s.first(from); !t.After(to); t = s.next(t) {
		col := place(t)
		if col < 0 || col >= cols {
			continue
		}
		marks[col] = '┬'
		top.put(col, s.label(t))
		if e := s.era(t); e != era {
			if text := e; era == "" {
				bottom.put(col, text+", "+zone)
			} else {
				bottom.put(col, text)
			}
			era = e
		}
	}
	if era == "" { // no tick said it
		bottom.put(0, from.Format("2 Jan 2006 15:04:05")+", "+zone)
	}
	return string(marks), top.String(), bottom.String()
}

// text is a line on which labels are put in the middle of columns, as far as there is room.
type text struct {
	runes []rune
	end   int // of the last label
}

func newText(cols int) *text { return &text{runes: []rune(strings.Repeat(" ", cols))} }

func (t *text) put(col int, label string) {
	r := []rune(label)
	begin := min(max(0, col-len(r)/2), len(t.runes)-len(r))
	if begin < 0 || t.end > 0 && begin <= t.end {
		return
	}
	copy(t.runes[begin:], r)
	t.end = begin + len(r)
}

func (t *text) String() string { return strings.TrimRight(string(t.runes), " ") }
