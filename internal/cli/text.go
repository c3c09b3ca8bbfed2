package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// printable keeps a tag from moving the cursor or colouring the terminal.
func printable(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// sentence is printable for what a server says: quotes and backslashes stay as they are.
func sentence(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		q := strconv.QuoteRune(r)
		b.WriteString(q[1 : len(q)-1])
	}
	return b.String()
}

// wide are the blocks of characters that take two columns of a terminal, as far as names
// are written in them.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1}, {Lo: 0x2e80, Hi: 0xa4cf, Stride: 1}, {Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe6f, Stride: 1}, {Lo: 0xff00, Hi: 0xff60, Stride: 1}, {Lo: 0xffe0, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{{Lo: 0x1f300, Hi: 0x1faff, Stride: 1}, {Lo: 0x20000, Hi: 0x3fffd, Stride: 1}},
}

// columns is how many columns of a terminal s takes, without escape sequences.
func columns(s string) (n int) {
	for _, r := range s {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me): // on the one before
		case unicode.Is(wide, r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// cut shortens s to at most n columns; an ellipsis stands for what is left out.
func cut(s string, n int) string {
	if columns(s) <= n {
		return s
	}
	for i := range s {
		if columns(s[:i]) > n-1 {
			_, size := lastRune(s[:i])
			return s[:i-size] + "…"
		}
	}
	return "…"
}

func lastRune(s string) (r rune, size int) {
	for i, c := range s {
		r, size = c, len(s)-i
	}
	return r, size
}

// pad fills s up to n columns, on the left where it is a number.
func pad(s string, n int, number bool) string {
	space := strings.Repeat(" ", max(0, n-columns(s)))
	if number {
		return space + s
	}
	return s + space
}

// grid lays out rows of cells in columns of which those from index numbers on are numbers,
// to the right. Lines have no blanks at their ends.
func grid(rows [][]string, numbers int) []string {
	var widths []int
	for _, row := range rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns(c))
		}
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		cells := make([]string, len(row))
		for j, c := range row {
			cells[j] = pad(c, widths[j], j >= numbers)
		}
		lines[i] = strings.TrimRight(strings.Join(cells, "  "), " ")
	}
	return lines
}

func stamp(sec int64) string { return time.Unix(sec, 0).UTC().Format(time.RFC3339) }

// stampIn is RFC 3339 in a zone, with a fraction where there is one.
func stampIn(sec float64, zone *time.Location) string {
	return atSec(sec, zone).Format(time.RFC3339Nano)
}

// atSec is the time of Unix seconds, to the millisecond.
func atSec(sec float64, zone *time.Location) time.Time {
	return time.UnixMilli(int64(sec*1000 + 0.5)).In(zone)
}

// tagsText writes tags as they are sent, sorted by key, or a dash.
func tagsText(tags map[string]tagValues) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		for _, v := range tags[k] {
			if v == "" {
				parts = append(parts, printable(k))
				continue
			}
			parts = append(parts, printable(k)+":"+printable(v))
		}
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ",")
}

// period writes a range of time for reading, with what both ends share once.
func period(from, to float64, zone *time.Location) string {
	a, b := atSec(from, zone), atSec(to, zone)
	clock := "15:04"
	for _, t := range []time.Time{a, b} {
		switch {
		case t.Nanosecond() != 0:
			clock = "15:04:05.000"
		case t.Second() != 0 && len(clock) < 8:
			clock = "15:04:05"
		}
	}
	text := a.Format("2006-01-02 " + clock)
	switch {
	case from == to:
	case a.Format(time.DateOnly) == b.Format(time.DateOnly):
		text += " to " + b.Format(clock)
	default:
		text += " to " + b.Format("2006-01-02 "+clock)
	}
	return text + " " + zone.String()
}
