package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"cairn/internal/clock"
)

// terminal is a pseudo-terminal: what is typed is written to its master, and what is shown
// is read there.
type terminal struct {
	t             *testing.T
	master, slave *os.File
	shown         strings.Builder
}

func newTerminal(t *testing.T, rows, cols uint16) *terminal {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("there is no pseudo-terminal: %v", err)
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { _ = master.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = slave.Close() })
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
	return &terminal{t: t, master: master, slave: slave}
}

// await reads until text is shown, and returns all that was since the call before.
func (x *terminal) await(text string) string {
	x.t.Helper()
	require.NoError(x.t, x.master.SetReadDeadline(time.Now().Add(30*time.Second)))
	buf := make([]byte, 4096)
	for !strings.Contains(x.shown.String(), text) {
		n, err := x.master.Read(buf)
		require.NoError(x.t, err, "%q is not shown, but %q", text, x.shown.String())
		x.shown.Write(buf[:n])
	}
	all := x.shown.String()
	x.shown.Reset()
	return all
}

func (x *terminal) state() unix.Termios {
	s, err := unix.IoctlGetTermios(int(x.slave.Fd()), unix.TCGETS)
	require.NoError(x.t, err)
	return *s
}

// TestTopOnATerminal: keys change what is shown, a server that goes away is told of, and
// each way to end gives the terminal back as it was.
func TestTopOnATerminal(t *testing.T) {
	for name, end := range map[string]func(x *terminal, stop func()){
		"q":      func(x *terminal, _ func()) { x.typed("q") },
		"ctrl-C": func(x *terminal, _ func()) { x.typed("\x03") },
		"signal": func(_ *terminal, stop func()) { stop() },
	} {
		t.Run(name, func(t *testing.T) {
			x := newTerminal(t, 30, 120)
			before := x.state()
			f := newFake(t, topAnswers())
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			d := displayOf(x.slave)
			require.True(t, d.terminal)
			require.Equal(t, 120, d.width)
			ended := make(chan error, 1)
			go func() {
				ended <- runTop(ctx, d, x.slave, topFlags{server: f.URL, sort: "events", limit: 10, interval: time.Hour}, clock.NewSystem())
			}()
			first := x.await("q quit")
			require.Contains(t, first, enterScreen)
			require.Contains(t, first, "EVENTS/S↓")
			require.NotEqual(t, before, x.state(), "keys would come a line at a time")
			x.typed("\x1b[A")
			x.typed("s")
			x.await("SERIES↓")
			x.typed("r")
			x.await("SERIES↑")
			x.typed(" ")
			x.await("paused")
			f.Close()
			x.typed(" ")
			x.await("trying again")
			end(x, stop)
			x.await(leaveScreen)
			require.NoError(t, <-ended)
			require.Equal(t, before, x.state())
		})
	}
}

func (x *terminal) typed(keys string) {
	_, err := x.master.WriteString(keys)
	require.NoError(x.t, err)
}

// TestColours: a terminal has them, unless somebody does not want any.
func TestColours(t *testing.T) {
	x := newTerminal(t, 30, 120)
	t.Setenv("TERM", "xterm-256color")
	t.Setenv("NO_COLOR", "")
	require.True(t, displayOf(x.slave).colour)
	t.Setenv("NO_COLOR", "1")
	require.False(t, displayOf(x.slave).colour)
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	require.False(t, displayOf(x.slave).colour)
	file, err := os.Create(t.TempDir() + "/out")
	require.NoError(t, err)
	defer file.Close()
	t.Setenv("TERM", "xterm-256color")
	require.Equal(t, display{out: file, width: plainWidth, height: plainHeight}, displayOf(file))
}

func TestCommandsOfKeys(t *testing.T) {
	for typed, want := range map[string]string{
		"sq": "sq", "\x1b[As": "s", "\x1bOPq": "q", "\x1b": "", "\x1b[": "", "\x1b[1;5Cr\x1b[B": "r", "\x1bs": "s", "\x03": "\x03",
	} {
		require.Equal(t, want, string(commands([]byte(typed))), "%q", typed)
	}
}
