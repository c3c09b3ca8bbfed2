package promql

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"cairn/query"
)

// MaxAnswer is how many bytes an answer may have: it is kept until its client has read it.
const MaxAnswer = 64 << 20

// Result is the answer to a Query. It must be closed, after which it is empty.
type Result struct {
	value    parser.Value
	close    func()
	warnings []string
	infos    []string
	times    times
}

// times is the text of the times of a range query's points: each series has the same ones.
type times struct {
	first, step int64
	text        [][]byte // `,[1700000000,"`
}

func timesOf(q *Query) times {
	t := times{first: q.Start.UnixMilli(), step: q.Step.Milliseconds()}
	if t.step > 0 {
		n := int((q.End.UnixMilli()-t.first)/t.step) + 1
		t.text = make([][]byte, n)
		var b []byte
		for i := range t.text {
			from := len(b)
			b = append(appendTime(append(b, ',', '['), t.first+int64(i)*t.step), ',', '"')
			t.text[i] = b[from:len(b):len(b)]
		}
	}
	return t
}

// points appends a series' points. Those of a large answer are most of its time.
func (t *times) points(b []byte, all []promql.FPoint) []byte {
	if t.text == nil {
		return pointsOf(b, all)
	}
	for i, p := range all {
		text := t.text[(p.T-t.first)/t.step]
		if i == 0 {
			text = text[1:] // no comma
		}
		b = append(appendDigits(append(b, text...), p.F), '"', ']')
	}
	return b
}

// pointsOf appends the points of the only series: each time is written by adding to the digits
// of the one before.
func pointsOf(b []byte, all []promql.FPoint) []byte {
	last, digits := 0, 0 // where those of the time before are
	for i, p := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '[')
		at, whole := len(b), false
		if i > 0 {
			before := all[i-1].T
			d := p.T - before
			whole = before >= 0 && before%1000 == 0 && d >= 0 && d%1000 == 0 && d < 1e12
			if whole {
				b = append(b, b[last:last+digits]...)
				if whole = AddDigits(b[at:], uint32(d/1000)); !whole {
					b = b[:at] // it has a digit more
				}
			}
		}
		if !whole {
			b = appendTime(b, p.T)
		}
		last, digits = at, len(b)-at
		b = append(appendDigits(append(b, ',', '"'), p.F), '"', ']')
	}
	return b
}

// AddDigits adds n, below 10^9, to a decimal number; false: it does not fit into its digits, which
// are no longer the number then.
func AddDigits(digits []byte, n uint32) bool {
	for i := len(digits) - 1; n > 0; i-- {
		if i < 0 {
			return false
		}
		n += uint32(digits[i] - '0')
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return true
}

// Close gives the result's memory back.
func (r *Result) Close() {
	if r.close != nil {
		r.close()
	}
	r.value, r.close = nil, nil
}

// Warnings says in sentences what the answer is not.
func (r *Result) Warnings() []string { return r.warnings }

// Infos says what might be wrong with the query.
func (r *Result) Infos() []string { return r.infos }

// truncate keeps the first n series, and reports whether there were more.
func (r *Result) truncate(n int) bool {
	switch v := r.value.(type) {
	case promql.Matrix:
		if len(v) > n {
			r.value = v[:n]
			return true
		}
	case promql.Vector:
		if len(v) > n {
			r.value = v[:n]
			return true
		}
	}
	return false
}

// Append appends the answer as Prometheus' API has it under data, without the
// braces: "resultType":...,"result":... If it exceeds MaxAnswer, there is a *query.LimitError.
func (r *Result) Append(b []byte) ([]byte, error) { return r.append(b, MaxAnswer) }

// append is Append with a bound of its own on all of b, which ends soon after it.
func (r *Result) append(b []byte, most int) ([]byte, error) {
	b = r.encode(b, most)
	if len(b) > most {
		return nil, &query.LimitError{Sentence: fmt.Sprintf("the answer has more than %d bytes: "+
			"filter, aggregate, or take a longer step or a shorter range", most)}
	}
	return b, nil
}

// encode stops at a place where b has more bytes than most.
func (r *Result) encode(b []byte, most int) []byte {
	b = append(b, `"resultType":"`...)
	b = append(b, string(r.value.Type())...)
	b = append(b, `","result":`...)
	switch v := r.value.(type) {
	case promql.Scalar:
		return appendPoint(b, v.T, v.V)
	case promql.String:
		b = append(appendTime(append(b, '['), v.T), ',')
		return append(AppendString(b, v.V), ']')
	case promql.Vector:
		b = append(b, '[')
		for i := 0; i < len(v) && len(b) <= most; i++ {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendSample(b, &v[i])
		}
		return append(b, ']')
	case promql.Matrix:
		const perSeries, perPoint = 200, 18 // bytes, about
		room := 0
		for i := range v {
			room += perSeries + perPoint*len(v[i].Floats)
		}
		b = append(slices.Grow(b, min(room, most)), '[')
		for i := 0; i < len(v) && len(b) <= most; i++ {
			if i > 0 {
				b = append(b, ',')
			}
			b = r.times.row(b, &v[i], most)
		}
		return append(b, ']')
	}
	panic("BUG: a value of an unknown type")
}

func appendSample(b []byte, s *promql.Sample) []byte {
	b = AppendLabels(append(b, `{"metric":`...), s.Metric)
	if s.H != nil {
		b = append(appendTime(append(b, `,"histogram":[`...), s.T), ',')
		return append(appendHistogram(b, s.H), "]}"...)
	}
	b = append(b, `,"value":`...)
	return append(appendPoint(b, s.T, s.F), '}')
}

// pointsAtOnce is how many points are written between looks at an answer's size.
const pointsAtOnce = 1 << 14

func (t *times) row(b []byte, s *promql.Series, most int) []byte {
	b = AppendLabels(append(b, `{"metric":`...), s.Metric)
	if len(s.Floats) > 0 {
		b = append(b, `,"values":[`...)
		for i := 0; i < len(s.Floats) && len(b) <= most; i += pointsAtOnce {
			if i > 0 {
				b = append(b, ',')
			}
			b = t.points(b, s.Floats[i:min(i+pointsAtOnce, len(s.Floats))])
		}
		b = append(b, ']')
	}
	if len(s.Histograms) > 0 {
		b = append(b, `,"histograms":[`...)
		for i, p := range s.Histograms {
			if len(b) > most {
				break
			}
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendTime(append(b, '['), p.T), ',')
			b = append(appendHistogram(b, p.H), ']')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendPoint(b []byte, t int64, v float64) []byte {
	b = append(appendTime(append(b, '['), t), ',')
	return append(appendFloat(b, v), ']')
}

// appendTime writes milliseconds as seconds, as short as they go.
func appendTime(b []byte, ms int64) []byte {
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if f := ms % 1000; f != 0 {
		b = append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	}
	return b
}

// appendFloat writes a number in quotes, as Prometheus does.
func appendFloat(b []byte, v float64) []byte { return append(appendDigits(append(b, '"'), v), '"') }

func appendDigits(b []byte, v float64) []byte {
	if n := int64(v); float64(n) == v && n > -1<<53 && n < 1<<53 && (n != 0 || !math.Signbit(v)) {
		switch {
		case n < 0 || n >= 10_000:
			return strconv.AppendInt(b, n, 10)
		case n >= 1000:
			return append(b, byte('0'+n/1000), byte('0'+n/100%10), byte('0'+n/10%10), byte('0'+n%10))
		case n >= 100:
			return append(b, byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
		case n >= 10:
			return append(b, byte('0'+n/10), byte('0'+n%10))
		}
		return append(b, byte('0'+n))
	}
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) && !math.IsInf(v, 0) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

func appendHistogram(b []byte, h *histogram.FloatHistogram) []byte {
	b = appendFloat(append(b, `{"count":`...), h.Count)
	b = appendFloat(append(b, `,"sum":`...), h.Sum)
	some := false
	for it := h.AllBucketIterator(); it.Next(); {
		x := it.At()
		if x.Count == 0 {
			continue
		}
		if !some {
			b = append(b, `,"buckets":[`...)
		} else {
			b = append(b, ',')
		}
		some = true
		rule := byte('2')
		switch {
		case x.LowerInclusive && x.UpperInclusive:
			rule = '3'
		case x.LowerInclusive:
			rule = '1'
		case x.UpperInclusive:
			rule = '0'
		}
		b = append(b, '[', rule)
		for _, v := range [...]float64{x.Lower, x.Upper, x.Count} {
			b = appendFloat(append(b, ','), v)
		}
		b = append(b, ']')
	}
	if some {
		b = append(b, ']')
	}
	return append(b, '}')
}

// AppendLabels writes labels as an object.
func AppendLabels(b []byte, ls labels.Labels) []byte {
	b = append(b, '{')
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(AppendString(b, l.Name), ':')
		b = AppendString(b, l.Value)
	})
	return append(b, '}')
}

// AppendString writes a JSON string.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[from:i]...), `\ufffd`...)
				from = i + 1
			}
			i += n
			continue
		}
		i++
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i-1]...)
		from = i
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[from:]...), '"')
}
