package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// screen is a terminal that shows one frame after another. What it showed before, and how
// it treats keys, is back once it is closed.
type screen struct {
	d      display
	keys   *os.File
	before *term.State // of keys; nil: they are no terminal
}

func newScreen(d display) *screen { return &screen{d: d} }

// Sequences that any terminal since the VT100 and xterm knows.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	homeCursor  = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// open takes the terminal. Keys come one at a time and unseen, ctrl-C, too.
func (s *screen) open(keys *os.File) (err error) {
	if term.IsTerminal(int(keys.Fd())) {
		if s.before, err = term.MakeRaw(int(keys.Fd())); err != nil {
			return fmt.Errorf("read keys: %w", err)
		}
		s.keys = keys
	}
	_, err = io.WriteString(s.d.out, enterScreen)
	return err
}

// close gives the terminal back.
func (s *screen) close() error {
	_, err := io.WriteString(s.d.out, leaveScreen)
	if s.before != nil {
		if e := term.Restore(int(s.keys.Fd()), s.before); err == nil {
			err = e
		}
	}
	return err
}

// draw shows lines, and a note in the last line, in one write: nothing flickers.
func (s *screen) draw(lines []string, note string, bad bool) error {
	var b strings.Builder
	b.WriteString(homeCursor)
	for i := range s.d.height - 1 {
		if i < len(lines) {
			b.WriteString(lines[i])
		}
		b.WriteString(clearLine + "\r\n")
	}
	i := dimInk
	if bad {
		i = redInk
	}
	b.WriteString(s.d.paint(i, cut(note, s.d.width)) + clearLine + clearBelow)
	_, err := io.WriteString(s.d.out, b.String())
	return err
}
