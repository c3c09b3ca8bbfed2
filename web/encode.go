package web

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"cairn/query"
	"cairn/query/promql"
)

// appendResult writes a query's answer as JSON. It is written by hand because
// most of it is numbers, of which NaN stands for null.
func appendResult(b []byte, r *query.Result) []byte {
	const perTime, perValue = 11, 4 // bytes; values may well take more
	b = slices.Grow(b, 1000+r.Len()*(perTime+perValue*len(r.Series)))
	b = append(appendHead(b, r), `,"times":[`...)
	b = append(appendTimes(b, r), `],"series":[`...)
	for i := range r.Series {
		b = appendSeries(comma(b), &r.Series[i])
	}
	return append(appendTail(append(b, ']'), r), '\n')
}

// appendTimes writes the starts of an answer's steps with commas between them. Of even ones
// each is written by adding to the digits of the one before: of a long answer, times are most.
func appendTimes(b []byte, r *query.Result) []byte {
	n := r.Len()
	if n == 0 {
		return b
	}
	last := len(b) // where the time before begins
	b = strconv.AppendInt(b, int64(r.Start(0)), 10)
	for i := 1; i < n; i++ {
		at := len(b) + 1
		if width := r.Width(i - 1); width < 1e9 && r.Start(i-1) >= 0 {
			b = append(append(b, ','), b[last:]...)
			if last = at; promql.AddDigits(b[at:], uint32(width)) {
				continue
			}
			b = b[:at] // it has a digit more
		} else {
			b, last = append(b, ','), at
		}
		b = strconv.AppendInt(b, int64(r.Start(i)), 10)
	}
	return b
}

// timesOf returns the starts of an answer's steps.
func timesOf(r *query.Result) []int64 {
	times := make([]int64, r.Len())
	for i := range times {
		times[i] = int64(r.Start(i))
	}
	return times
}

// appendHead begins an answer, up to its times; appendTail ends it after its series.
func appendHead(b []byte, r *query.Result) []byte {
	b = append(b, `{"metric":`...)
	b = appendString(b, r.Metric)
	if r.Expr {
		b = append(b, `,"expr":`...)
		b = appendString(b, r.Metric)
	} else {
		b = append(b, `,"kind":`...)
		b = appendString(b, r.Kind.String())
		b = append(b, `,"fn":`...)
		b = appendString(b, string(r.Fn))
	}
	for _, f := range []struct {
		name string
		v    int64
	}{{"from", int64(r.From)}, {"to", int64(r.To)}, {"step", r.Step}} {
		b = append(b, `,"`+f.name+`":`...)
		b = strconv.AppendInt(b, f.v, 10)
	}
	b = append(b, `,"tier":`...)
	b = appendString(b, r.Tier.String())
	b = append(b, `,"sealed_until":`...)
	return strconv.AppendInt(b, int64(r.SealedUntil), 10)
}

func appendTail(b []byte, r *query.Result) []byte {
	b = append(b, `,"total":`...)
	b = appendNumber(b, r.Total)
	b = append(b, `,"series_matched":`...)
	b = strconv.AppendInt(b, int64(r.SeriesMatched), 10)
	b = append(b, `,"truncated":`...)
	b = strconv.AppendBool(b, r.Truncated)
	b = append(b, `,"warnings":[`...)
	for _, w := range r.Warnings {
		b = appendString(comma(b), w)
	}
	return append(b, "]}"...)
}

func appendSeries(b []byte, s *query.Series) []byte {
	b = append(appendIdentity(append(b, '{'), s), `,"values":[`...)
	for _, v := range s.Values {
		b = appendNumber(comma(b), v)
	}
	return append(appendFigures(append(b, ']'), s), '}')
}

// appendIdentity writes what tells a series of an answer from the others.
func appendIdentity(b []byte, s *query.Series) []byte {
	b = append(b, `"tags":{`...)
	for _, t := range s.Tags {
		b = append(appendString(comma(b), t.Key), ':')
		if len(t.Values) == 1 {
			b = appendString(b, t.Values[0])
			continue
		}
		b = append(b, '[')
		for _, v := range t.Values {
			b = appendString(comma(b), v)
		}
		b = append(b, ']')
	}
	b = append(b, '}')
	if s.Other {
		b = append(b, `,"other":true`...)
	}
	return b
}

// appendFigures writes what a series comes to.
func appendFigures(b []byte, s *query.Series) []byte {
	b = append(b, `,"total":`...)
	b = appendNumber(b, s.Total)
	b = append(b, `,"min":`...)
	b = appendNumber(b, s.Min)
	b = append(b, `,"max":`...)
	b = appendNumber(b, s.Max)
	b = append(b, `,"last":`...)
	return appendNumber(b, s.Last)
}

// comma separates an element from the one before it, if there is one.
func comma(b []byte) []byte {
	switch b[len(b)-1] {
	case '[', '{':
		return b
	}
	return append(b, ',')
}

// appendNumber writes v with as few digits as tell it from its neighbours; NaN is
// null. Whole numbers are written without an exponent as long as every one of
// them is a float64.
func appendNumber(b []byte, v float64) []byte {
	switch i := int64(v); {
	case float64(i) == v && i <= 1<<53 && i >= -1<<53:
		return strconv.AppendInt(b, i, 10)
	case math.IsNaN(v):
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("BUG: a string that is not JSON: %v", err))
	}
	return append(b, q...)
}
