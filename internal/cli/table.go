package cli

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"strings"
)

// others is what stands for the tags of a series that many groups were folded into.
const others = "(other)"

// tagText is what a row has of a key: its values, or a dash.
func (x *row) tagText(key string) string {
	if x.other {
		return others
	}
	values := x.tags[key]
	if len(values) == 0 {
		return "-"
	}
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = printable(v)
	}
	return strings.Join(parts, "|")
}

// heading tells of what the answer is, in one line.
func (r *result) heading() string {
	what := sentence(r.title)
	if r.fn != "" {
		what = printable(r.fn) + " of " + what
	}
	if len(r.notes) > 0 {
		what += ", " + strings.Join(r.notes, ", ")
	}
	if r.instant() {
		return fmt.Sprintf("%s, %s", what, period(r.from, r.from, r.zone))
	}
	text := fmt.Sprintf("%s, %s, step %s", what, period(r.from, r.to, r.zone), span(r.step))
	if r.tier != "" {
		text += ", tier " + printable(r.tier)
	}
	return text
}

// footing names the total of all, or how many series there are.
func (r *result) footing() string {
	series := fmt.Sprintf("%s series", exact(float64(r.matched)))
	if r.promql {
		return series
	}
	text := fmt.Sprintf("%s: %s, of %s", r.totalName(), r.measure.total(r.total), series)
	if r.cut {
		text += fmt.Sprintf("; the first %d groups are shown", len(r.series))
	}
	return text
}

// head is the first row of a table: the keys, and the figures of each series.
func (r *result) head(keys []string) (head []string) {
	for _, k := range keys {
		head = append(head, printable(strings.ToUpper(k)))
	}
	switch {
	case r.instant():
		return append(head, "VALUE")
	case r.promql:
		return append(head, "MIN", "MAX", "LAST")
	case r.additive():
		return append(head, "TOTAL", "MIN", "MAX", "LAST")
	}
	return append(head, "OVERALL", "MIN", "MAX", "LAST")
}

// printTable writes a row a series. A picture of its values is beside it with spark, as wide
// as there is room.
func printTable(d display, r *result, spark bool) error {
	keys := r.legendKeys()
	rows := [][]string{r.head(keys)}
	for i := range r.series {
		rows = append(rows, r.cells(&r.series[i], keys, rows[0]))
	}
	lines := grid(rows, len(keys))
	if len(r.series) == 0 {
		lines = nil
	}
	width := widest(lines) + 2
	if room := min(d.width-width, sparkWidth); spark && !r.instant() && room >= 4 {
		for i := range r.series {
			picture := sparkline(r.series[i].values, room, !r.lines)
			lines[i+1] = strings.TrimRight(pad(lines[i+1], width, false)+d.paint(inks[0], picture), " ")
		}
	}
	text := r.heading() + "\n"
	for _, l := range lines {
		text += l + "\n"
	}
	_, err := io.WriteString(d.out, text+r.footing()+"\n")
	return err
}

// cells are a row's tags and those figures that head has.
func (r *result) cells(x *row, keys, head []string) []string {
	var out []string
	for _, k := range keys {
		out = append(out, x.tagText(k))
	}
	for _, h := range head[len(keys):] {
		switch h {
		case "TOTAL", "OVERALL":
			out = append(out, r.bare(x.total))
		case "MIN":
			out = append(out, r.point(x.min))
		case "MAX":
			out = append(out, r.point(x.max))
		default:
			out = append(out, r.point(x.last))
		}
	}
	return out
}

func widest(lines []string) (n int) {
	for _, l := range lines {
		n = max(n, columns(l))
	}
	return n
}

// sparkWidth is how wide a picture beside a row is at most.
const sparkWidth = 40

var eighths = []rune(" ▁▂▃▄▅▆▇█")

// sparkline draws values in at most width characters, each the largest of its part. It
// begins at zero where they are amounts, and else at the smallest, if that is not below a
// half of the largest. What is not there is a blank.
func sparkline(values []*float64, width int, amounts bool) string {
	parts := squeeze(values, width, largest)
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range parts {
		if finite(v) {
			low, high = min(low, *v), max(high, *v)
		}
	}
	if low >= 0 && (amounts || low < high/2) {
		low = 0
	}
	var b strings.Builder
	for _, v := range parts {
		switch {
		case !finite(v):
			b.WriteByte(' ')
		case high <= low:
			b.WriteRune(eighths[1])
		default:
			// The lowest one is drawn, too: a blank is nothing at all.
			level := 1 + int(math.Round((*v-low)/(high-low)*float64(len(eighths)-2)))
			b.WriteRune(eighths[level])
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// farthest is the largest number that is drawn: thousands of them can be added up.
const farthest = 1e300

// finite reports whether v is there and can be drawn.
func finite(v *float64) bool { return v != nil && math.Abs(*v) <= farthest }

// squeeze makes at most width values of more, each of as many neighbours by join; the last
// may be of fewer.
func squeeze(values []*float64, width int, join func(a, b float64) float64) []*float64 {
	n := merged(len(values), width)
	if n == 1 {
		return values
	}
	var out []*float64
	for i := 0; i < len(values); i += n {
		var sum *float64
		for _, v := range values[i:min(i+n, len(values))] {
			switch {
			case !finite(v):
			case sum == nil:
				sum = v
			default:
				joined := join(*sum, *v)
				sum = &joined
			}
		}
		out = append(out, sum)
	}
	return out
}

// merged is how many neighbours become one, so that no more than width remain of n.
func merged(n, width int) int { return max(1, (n+width-1)/width) }

func largest(a, b float64) float64 { return max(a, b) }
func added(a, b float64) float64   { return a + b }

// printCSV writes one row a point: time, tags, value. A point without an event
// has no row.
func printCSV(w io.Writer, r *result) error {
	keys := r.keys()
	c := csv.NewWriter(w)
	name := r.fn
	if name == "" {
		name = "value"
	}
	head := []string{"time"}
	for _, k := range keys {
		head = append(head, printable(k))
	}
	rows := [][]string{append(head, printable(name))}
	for i := range r.series {
		x := &r.series[i]
		for j, v := range x.values {
			if v == nil {
				continue
			}
			line := []string{stampIn(r.times[j], r.zone)}
			for _, k := range keys {
				line = append(line, x.tagText(k))
			}
			rows = append(rows, append(line, number(v)))
		}
	}
	return c.WriteAll(rows)
}
