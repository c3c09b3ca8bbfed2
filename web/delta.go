package web

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"sync"

	"cairn/query"
)

// answer is a result that viewers of a stream have, or are to have.
type answer struct {
	res   *query.Result
	times []int64
	rest  []byte         // all that is neither times nor series, as JSON
	ids   []string       // of each series, as JSON: what tells it from the others
	place map[string]int // of each id; nil: series cannot be told apart
	full  message
}

func newAnswer(r *query.Result) *answer {
	a := &answer{res: r, times: timesOf(r), rest: appendTail(appendHead(nil, r), r), place: make(map[string]int, len(r.Series))}
	for i := range r.Series {
		id := string(appendIdentity(nil, &r.Series[i]))
		a.ids = append(a.ids, id)
		a.place[id] = i
	}
	if len(a.place) < len(a.ids) {
		a.place = nil // of values that are not UTF-8, JSON makes one
	}
	// Few answers are sent in whole: once to each viewer.
	a.full = sync.OnceValue(func() []byte { return frame("full", bytes.TrimRight(appendResult(nil, r), "\n")) })
	return a
}

// points is how many values an answer has.
func (a *answer) points() int { return len(a.times) * len(a.res.Series) }

// change is what turns one answer into the next one.
type change struct {
	old, now *answer
	dropped  int // of the old times, from the front
	kept     int // of the old times; the new ones begin with them
	values   int // that are sent
}

// diff writes what turns old into now, as docs/streams.md has it. It is nil if nothing
// changed and empty is not asked for. ok is false if now is to be sent in whole: it has
// other times, or more than half of its values changed.
func diff(old, now *answer, empty bool) (delta []byte, ok bool) {
	c := change{old: old, now: now}
	if old.place == nil || now.place == nil || !c.overlap() {
		return nil, false
	}
	order := c.order()
	series, ok := c.series()
	if !ok || 2*c.values > now.points() && c.values > 0 {
		return nil, false
	}
	added := now.times[c.kept:]
	if !empty && c.dropped == 0 && len(added) == 0 && order == nil && len(series) == 0 && bytes.Equal(old.rest, now.rest) {
		return nil, true
	}
	b := append(appendHead(nil, now.res), `,"dropped":`...)
	b = append(strconv.AppendInt(b, int64(c.dropped), 10), `,"times":[`...)
	for _, t := range added {
		b = strconv.AppendInt(comma(b), t, 10)
	}
	b = append(b, ']')
	if order != nil {
		b = append(append(b, `,"order":`...), order...)
	}
	b = append(append(append(b, `,"series":[`...), series...), ']')
	return appendTail(b, now.res), true
}

// overlap finds out how the window moved; it reports whether the new times are the end of
// the old ones, and more.
func (c *change) overlap() bool {
	if len(c.old.times) == 0 || len(c.now.times) == 0 {
		return len(c.old.times) == len(c.now.times)
	}
	at, _ := slices.BinarySearch(c.old.times, c.now.times[0])
	c.dropped, c.kept = at, len(c.old.times)-at
	return c.kept <= len(c.now.times) && slices.Equal(c.old.times[at:], c.now.times[:c.kept])
}

// order tells for each series where it was in the old answer, -1 if nowhere; nil: all are
// where they were.
func (c *change) order() []byte {
	if slices.Equal(c.old.ids, c.now.ids) {
		return nil
	}
	b := []byte{'['}
	for _, id := range c.now.ids {
		at, ok := c.old.place[id]
		if !ok {
			at = -1
		}
		b = strconv.AppendInt(comma(b), int64(at), 10)
	}
	return append(b, ']')
}

// series writes those that are new, in whole, and what changed in the others.
func (c *change) series() (b []byte, ok bool) {
	for i := range c.now.res.Series {
		s := &c.now.res.Series[i]
		if len(s.Values) != len(c.now.times) {
			return nil, false
		}
		var was *query.Series
		since := 0
		if at, ok := c.old.place[c.now.ids[i]]; ok {
			was = &c.old.res.Series[at]
			if since = c.since(was.Values, s.Values); since == len(s.Values) && sameFigures(was, s) {
				continue
			}
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"at":`...), int64(i), 10)
		switch {
		case was == nil:
			b = append(appendIdentity(append(b, ','), s), `,"values":[`...)
		case since < len(s.Values):
			b = append(strconv.AppendInt(append(b, `,"since":`...), int64(since), 10), `,"values":[`...)
		}
		if was == nil || since < len(s.Values) {
			for _, v := range s.Values[since:] {
				b = appendNumber(comma(b), v)
			}
			b = append(b, ']')
			c.values += len(s.Values) - since
		}
		b = append(appendFigures(b, s), '}')
	}
	return b, true
}

// since returns the first place from which on a series' values are not those it had, with
// null for each new time.
func (c *change) since(was, now []float64) int {
	for i, v := range now {
		before := math.NaN()
		if i < c.kept {
			before = was[c.dropped+i]
		}
		if !same(before, v) {
			return i
		}
	}
	return len(now)
}

func sameFigures(a, b *query.Series) bool {
	return same(a.Total, b.Total) && same(a.Min, b.Min) && same(a.Max, b.Max) && same(a.Last, b.Last)
}

// same reports whether two numbers are the same in JSON.
func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
