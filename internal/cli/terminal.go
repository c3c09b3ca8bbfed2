package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Size of what is drawn where there is no terminal.
const (
	plainWidth  = 100
	plainHeight = 24
)

// display is what output goes to, and what it can show.
type display struct {
	out           io.Writer
	terminal      bool
	width, height int // in characters
	colour        bool
}

// displayOf finds out about w. Colours are for terminals only, and not where NO_COLOR is
// set (no-color.org) or the terminal is dumb.
func displayOf(w io.Writer) display {
	d := display{out: w, width: plainWidth, height: plainHeight}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return d
	}
	d.terminal = true
	noColour, _ := os.LookupEnv("NO_COLOR")
	name, _ := os.LookupEnv("TERM")
	d.colour = noColour == "" && name != "dumb"
	d.measure()
	return d
}

// measure reads the terminal's size anew.
func (d *display) measure() {
	if f, ok := d.out.(*os.File); ok && d.terminal {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			d.width, d.height = w, h
		}
	}
}

// ink is a colour of a terminal with 256, by number; noInk is the usual one.
type ink string

const (
	noInk  ink = ""
	dimInk ink = "2" // no colour: fainter
	redInk ink = "31"
)

// inks tell series apart, on light and on dark ground; greyInk is for what is no series.
var inks = []ink{"38;5;33", "38;5;208", "38;5;71", "38;5;170", "38;5;37", "38;5;178", "38;5;160", "38;5;99"}

const greyInk ink = "38;5;245"

// paint colours text, where there are colours.
func (d *display) paint(i ink, text string) string {
	if !d.colour || i == noInk || text == "" {
		return text
	}
	return "\x1b[" + string(i) + "m" + text + "\x1b[0m"
}
