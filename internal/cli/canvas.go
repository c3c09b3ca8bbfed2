package cli

import (
	"math"
	"strings"
)

// canvas is a rectangle of characters, each with a colour and one behind it. Row 0 is the
// upper one.
type canvas struct {
	cols, rows int
	cells      []canvasCell
}

type canvasCell struct {
	r        rune
	ink, bed ink
}

func newCanvas(cols, rows int) *canvas {
	c := &canvas{cols, rows, make([]canvasCell, cols*rows)}
	for i := range c.cells {
		c.cells[i].r = ' '
	}
	return c
}

func (c *canvas) at(col, row int) *canvasCell { return &c.cells[row*c.cols+col] }

// line writes a row, with its colours if d has any, without blanks at its end.
func (c *canvas) line(d *display, row int) string {
	cells := c.cells[row*c.cols : (row+1)*c.cols]
	for len(cells) > 0 && cells[len(cells)-1].r == ' ' && cells[len(cells)-1].bed == noInk {
		cells = cells[:len(cells)-1]
	}
	var b strings.Builder
	for len(cells) > 0 {
		n := 1
		for n < len(cells) && cells[n].ink == cells[0].ink && cells[n].bed == cells[0].bed {
			n++
		}
		run := make([]rune, n)
		for i := range run {
			run[i] = cells[i].r
		}
		style := cells[0].ink
		if bed := cells[0].bed; bed != noInk {
			style += ";4" + bed[1:] // 38 is a colour, 48 one behind
		}
		b.WriteString(d.paint(style, string(run)))
		cells = cells[n:]
	}
	return b.String()
}

// bar is a stack of amounts, from below.
type bar struct {
	heights []float64 // in rows
	inks    []ink
	marks   []rune
}

// drawBar fills columns from col on, as many as width, to an eighth of a row. Without
// colours, and with several amounts, each has its own character, in whole rows.
func (c *canvas) drawBar(b bar, col, width int, colour bool) {
	// tops are where each amount ends, in eighths of a row.
	tops := make([]int, len(b.heights))
	sum := 0.0
	for i, h := range b.heights {
		sum += h
		tops[i] = int(math.Round(sum * 8))
		if tops[i] == 0 && sum > 0 {
			tops[i] = 1 // little is not nothing
		}
	}
	// owner is whose the nth eighth is.
	owner := func(n int) int {
		for i, top := range tops {
			if n < top {
				return i
			}
		}
		panic("BUG: nobody's part of a bar")
	}
	end := tops[len(tops)-1]
	for row := 0; row*8 < end && row < c.rows; row++ {
		from, to := row*8, min(row*8+8, end)
		low, middle := owner(from), owner((from+to)/2)
		var cell canvasCell
		switch {
		case len(tops) > 1 && !colour:
			cell = canvasCell{r: b.marks[middle]}
		case to < from+8:
			// A character has two colours, and one is for what is above: the larger part has
			// the other.
			cell = canvasCell{r: eighths[to-from], ink: b.inks[middle]}
		case tops[low] < to:
			cell = canvasCell{r: eighths[tops[low]-from], ink: b.inks[low], bed: b.inks[owner(tops[low])]}
		default:
			cell = canvasCell{r: eighths[8], ink: b.inks[low]}
		}
		for x := col; x < min(col+width, c.cols); x++ {
			*c.at(x, c.rows-1-row) = cell
		}
	}
}

// braille is the first of 256 characters, whose low byte says which of 2×4 dots they have.
const braille = '\u2800'

// dots are the bits of a character's dots, by column and by row from above.
var dots = [2][4]rune{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

// dot sets a dot; x is in half columns from the left, y in quarter rows from above.
func (c *canvas) dot(x, y int, i ink) {
	if x < 0 || y < 0 || x >= 2*c.cols || y >= 4*c.rows {
		return
	}
	cell := c.at(x/2, y/4)
	if cell.r < braille || cell.r > braille+0xff {
		cell.r = braille
	}
	cell.r |= dots[x%2][y%4]
	cell.ink = i
}

// stroke draws a straight line of dots.
func (c *canvas) stroke(x0, y0, x1, y1 int, i ink) {
	n := max(abs(x1-x0), abs(y1-y0), 1)
	for k := range n + 1 {
		f := float64(k) / float64(n)
		c.dot(x0+int(math.Round(f*float64(x1-x0))), y0+int(math.Round(f*float64(y1-y0))), i)
	}
}

func abs(n int) int { return max(n, -n) }
