package cli

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
	"time"
)

// Bounds of a chart, in characters. A narrower one has no room for its axes.
const (
	minWidth = 40
	minRows  = 5
	maxRows  = 40
)

// curve is a series as it is drawn.
type curve struct {
	label  []string // a cell a key
	row    *row     // nil: several
	ink    ink
	mark   rune // instead of the colour, where there is none
	values []*float64
}

// marks tell series apart without colours; the last is for what is no series.
var marks = []rune("█▓▒░#+o.")

const otherMark = ':'

// chart is what is drawn, and how.
type chart struct {
	d      display
	r      *result
	curves []curve
	beyond int // series that have no curve
	bars   bool
	times  []float64
	merged int // points of the answer in each of the chart
	cols   int
	rows   int
	scale  scale
}

// printChart draws the values over time: amounts as bars on one another, all else as lines.
func printChart(d display, r *result) error {
	d.width = max(d.width, minWidth)
	c := &chart{d: d, r: r}
	c.choose()
	text := r.heading() + "\n"
	if !c.layout() {
		text += "There is nothing to draw: no point has a value.\n"
	} else {
		text += c.plot()
	}
	for _, l := range c.legend() {
		text += l + "\n"
	}
	_, err := io.WriteString(d.out, text+r.footing()+"\n")
	return err
}

// choose picks the series that are drawn, each with its colour. Bars of those beyond are one.
func (c *chart) choose() {
	keys := c.r.legendKeys()
	c.bars = !c.r.lines && (c.r.additive() || len(c.r.series) == 1)
	for i := range c.r.series {
		for _, v := range c.r.series[i].values {
			if finite(v) && *v < 0 {
				c.bars = false
			}
		}
	}
	most := len(inks)
	for i := range c.r.series {
		x := &c.r.series[i]
		k := curve{row: x, values: x.values, ink: greyInk, mark: otherMark}
		for _, key := range keys {
			k.label = append(k.label, x.tagText(key))
		}
		if !x.other {
			if most == 0 {
				c.beyond++
				continue
			}
			n := len(inks) - most
			k.ink, k.mark = inks[n], marks[n]
			most--
		}
		c.curves = append(c.curves, k)
	}
	if c.bars && c.beyond > 0 {
		c.curves = append(c.curves, c.rest())
	}
}

// rest is a curve of all series beyond those with colours.
func (c *chart) rest() curve {
	k := curve{label: []string{fmt.Sprintf("%d more", c.beyond)}, ink: greyInk, mark: otherMark, values: make([]*float64, len(c.r.times))}
	passed := 0
	total := 0.0
	for i := range c.r.series {
		if c.r.series[i].other {
			continue
		}
		if passed++; passed <= len(inks) {
			continue
		}
		if t := c.r.series[i].total; t != nil {
			total += *t
		}
		for j, v := range c.r.series[i].values {
			if !finite(v) {
				continue
			}
			sum := *v
			if k.values[j] != nil {
				sum += *k.values[j]
			}
			k.values[j] = &sum
		}
	}
	// Its figure stands behind as many keys as there are.
	k.label = append(k.label, slices.Repeat([]string{""}, max(0, len(c.r.legendKeys())-1))...)
	k.label = append(k.label, c.r.bare(&total))
	return k
}

// layout decides sizes and scale; false: there is no value.
func (c *chart) layout() bool {
	// Beside the plot: heading, unit, axis, labels, eras, head of the legend, total, prompt.
	c.rows = min(max(c.d.height-len(c.curves)-8, minRows), maxRows)
	label := 5
	for range 3 { // what the labels say depends on how many points become one
		c.cols = c.d.width - label - 3
		c.merged = 1
		if c.bars {
			c.merged = roundMerge(merged(len(c.r.times), c.cols), c.r.step)
		}
		if !c.measure() {
			return false
		}
		widest := 0
		for n := range c.scale.steps() + 1 {
			widest = max(widest, columns(c.r.axis(c.scale.tick(n))))
		}
		if widest == label {
			break
		}
		label = widest
	}
	c.rows -= c.rows % c.scale.steps()
	c.times = c.times[:0]
	for i := 0; i < len(c.r.times); i += c.merged {
		c.times = append(c.times, c.r.times[i])
	}
	return true
}

// roundMerge makes n points of a step, or some more, a length of time that people know: no
// bar is of 110 seconds where two minutes will do.
func roundMerge(n int, step float64) int {
	for _, s := range promSteps {
		if k := float64(s) / step; k >= float64(n) && k <= 2*float64(n) && k == math.Trunc(k) && n > 1 {
			return int(k)
		}
	}
	return n
}

// measure finds the scale that all points fit on.
func (c *chart) measure() bool {
	low, high, whole := math.Inf(1), math.Inf(-1), true
	heights := make([]float64, len(c.r.times)) // of bars
	for i := range c.curves {
		for j, v := range c.points(i) {
			if !finite(v) {
				continue
			}
			at := *v
			whole = whole && at == math.Trunc(at)
			if c.bars {
				heights[j] += at
				at = heights[j]
			}
			low, high = min(low, at), max(high, at)
		}
	}
	if low > high {
		return false
	}
	if c.bars || c.r.additive() || low >= 0 && low < high/2 {
		low = min(low, 0)
	}
	c.scale = newScale(low, high, max(3, c.rows/3), whole && c.bars)
	return true
}

// points are the values of a curve, as many of the answer's in each as are merged.
func (c *chart) points(i int) []*float64 {
	values := c.curves[i].values
	if c.merged == 1 {
		return values
	}
	return squeeze(values, (len(values)+c.merged-1)/c.merged, added)
}

// barWidth is how many columns a bar has, with the gap beside it.
func (c *chart) barWidth() int { return max(1, c.cols/max(1, len(c.times))) }

// plot writes the chart with its axes.
func (c *chart) plot() string {
	canvas := newCanvas(c.cols, c.rows)
	if c.bars {
		c.drawBars(canvas)
	} else {
		c.drawLines(canvas)
	}
	label := 0
	labels := map[int]string{} // by row
	each := c.rows / c.scale.steps()
	for n := range c.scale.steps() + 1 {
		labels[c.rows-n*each] = c.r.axis(c.scale.tick(n))
		label = max(label, columns(labels[c.rows-n*each]))
	}
	var b strings.Builder
	unit := c.r.pointName(span(c.r.step * float64(c.merged)))
	if c.r.cumulative {
		unit = c.r.totalName() + " so far"
	}
	fmt.Fprintln(&b, c.d.paint(dimInk, unit))
	for row := range c.rows {
		text, tick := labels[row], "┤"
		if text == "" {
			tick = "│"
		}
		fmt.Fprintf(&b, "%s %s%s\n", pad(text, label, true), tick, canvas.line(&c.d, row))
	}
	from, to := atSec(c.times[0], c.r.zone), atSec(c.end(), c.r.zone)
	rule, under, eras := timeAxis(from, to, c.r.step*float64(c.merged), c.cols, c.place)
	fmt.Fprintf(&b, "%s ┼%s\n", pad(labels[c.rows], label, true), rule)
	indent := strings.Repeat(" ", label+2)
	for _, l := range []string{under, eras} {
		if l != "" {
			fmt.Fprintf(&b, "%s%s\n", indent, l)
		}
	}
	return b.String()
}

// end is the time at the right end: of bars the end of the last, of lines the last point.
func (c *chart) end() float64 {
	if c.bars {
		return max(c.r.to, c.times[len(c.times)-1])
	}
	return c.times[len(c.times)-1]
}

// place is the column of a time. Points are equally far apart, also those of calendar steps,
// which are not.
func (c *chart) place(t time.Time) int {
	at := float64(t.UnixMilli()) / 1000
	n := len(c.times)
	i := sort.SearchFloat64s(c.times, at) // the first one not before
	index := float64(i)
	switch {
	case i == n:
		index = float64(n-1) + (at-c.times[n-1])/max(1e-9, c.r.step*float64(c.merged))
	case i > 0 && c.times[i] > at:
		index = float64(i-1) + (at-c.times[i-1])/(c.times[i]-c.times[i-1])
	}
	if c.bars {
		return int(math.Floor(index*float64(c.barWidth()) + 1e-9))
	}
	return c.dotOf(index) / 2
}

// dotOf is where a point of a line is, in half columns.
func (c *chart) dotOf(index float64) int {
	if len(c.times) == 1 {
		return c.cols
	}
	return int(math.Round(index / float64(len(c.times)-1) * float64(2*c.cols-1)))
}

func (c *chart) drawBars(canvas *canvas) {
	width := c.barWidth()
	points := make([][]*float64, len(c.curves))
	for i := range c.curves {
		points[i] = c.points(i)
	}
	for j := range c.times {
		var b bar
		for i := range c.curves {
			height := 0.0
			if v := points[i][j]; finite(v) {
				height = *v / (c.scale.high - c.scale.low) * float64(c.rows)
			}
			b.heights = append(b.heights, height)
			b.inks = append(b.inks, c.curves[i].ink)
			b.marks = append(b.marks, c.curves[i].mark)
		}
		fill := width
		if width >= 3 {
			fill-- // a gap tells bars apart
		}
		canvas.drawBar(b, j*width, fill, c.d.colour)
	}
}

// drawLines draws the first series last, on top. Without colours several series are of
// characters, each its own, instead of dots.
func (c *chart) drawLines(canvas *canvas) {
	for i := len(c.curves) - 1; i >= 0; i-- {
		k := &c.curves[i]
		height := float64(4*c.rows - 1)
		lastX, lastY := -1, 0
		for j, v := range c.points(i) {
			if !finite(v) {
				lastX = -1
				continue
			}
			x, y := c.dotOf(float64(j)), int(math.Round((1-c.scale.part(*v))*height))
			if lastX < 0 {
				lastX, lastY = x, y
			}
			if c.d.colour || len(c.curves) == 1 {
				canvas.stroke(lastX, lastY, x, y, k.ink)
			} else {
				c.letters(canvas, lastX/2, lastY, x/2, y, k.mark)
			}
			lastX, lastY = x, y
		}
	}
}

// letters draws a line of characters, one a column; y is in quarter rows.
func (c *chart) letters(canvas *canvas, x0, y0, x1, y1 int, mark rune) {
	for x := x0; x <= min(x1, c.cols-1); x++ {
		y := y1
		if x1 > x0 {
			y = y0 + (y1-y0)*(x-x0)/(x1-x0)
		}
		canvas.at(x, y/4).r = mark
	}
}

// legendKeys are the keys that tell series apart; there is one at least where there are
// several series.
func (r *result) legendKeys() []string {
	keys := r.keys()
	if len(keys) == 0 && len(r.series) > 0 && r.series[len(r.series)-1].other {
		keys = []string{"series"}
	}
	return keys
}

// legend is a table of the curves, each with its colour.
func (c *chart) legend() []string {
	keys := c.r.legendKeys()
	if len(c.curves) == 0 || len(keys) == 0 && len(c.curves) == 1 {
		return nil
	}
	rows := [][]string{append([]string{" "}, c.r.head(keys)...)}
	for i := range c.curves {
		k := &c.curves[i]
		cells := []string{string(k.mark)}
		if k.row != nil {
			cells = append(cells, c.r.cells(k.row, keys, rows[0][1:])...)
		} else {
			cells = append(cells, k.label...)
		}
		rows = append(rows, cells)
	}
	lines := grid(rows, 1+len(keys))
	for i := range c.curves {
		if c.d.colour {
			_, rest, _ := strings.Cut(lines[i+1], string(c.curves[i].mark))
			lines[i+1] = c.d.paint(c.curves[i].ink, "█") + rest
		}
	}
	if c.beyond > 0 && !c.bars {
		lines = append(lines, fmt.Sprintf("%d more series are not drawn", c.beyond))
	}
	return lines
}
