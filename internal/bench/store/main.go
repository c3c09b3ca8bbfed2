//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"cairn/internal/bench/child"
	"cairn/internal/clock"
	"cairn/tsdb"
)

// settings are the flags.
type settings struct {
	tools    string
	run      []string
	flushes  int
	series   int
	markdown string
	victoria string
	profile  string
	dir      string
}

// longest bounds a whole run: a full one takes about eight minutes.
const longest = 40 * time.Minute

// parts are what can be measured, in the order in which it is.
var parts = []struct {
	name    string
	measure func(*bench, context.Context, string) ([]row, error)
}{
	{"size", (*bench).size}, // and read, of the same store
	{"flush", (*bench).flush},
	{"decode", (*bench).decode},
	{"open", (*bench).open},
	{"beside", (*bench).beside},
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == openCommand {
		if err := openAndTell(os.Args[2], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "open:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	ctx, cancel := context.WithTimeout(ctx, longest)
	err := run(ctx, os.Args[1:], os.Stdout)
	cancel()
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench-store:", err)
		os.Exit(1)
	}
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	f := flag.NewFlagSet("bench-store", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&s.tools, "tools", "../shared/bench", "`folder` of the data set's generator")
	list := f.String("run", strings.Join(names, ","), "what to measure, separated by commas")
	f.IntVar(&s.flushes, "flushes", 360, "how many flushes are measured; 360 are an hour, over which they grow dearer")
	f.IntVar(&s.series, "series", 100_000, "how many series count in every second of the flushes; the bar is for the default")
	f.StringVar(&s.markdown, "markdown", "", "`file` in which to replace what stands between the marks of a measurement")
	f.StringVar(&s.victoria, "victoria", "", "`binary` of VictoriaMetrics to give the same data to; empty: none")
	f.StringVar(&s.profile, "profile", "", "`file` to write a CPU profile of the flushes to")
	f.StringVar(&s.dir, "dir", "", "`folder` on the disk to measure on; empty: that of temporary files")
	if err := f.Parse(args); err != nil {
		return s, flag.ErrHelp // it has been said what is wrong
	}
	s.run = strings.Split(*list, ",")
	var problems []error
	for _, name := range s.run {
		if !slices.Contains(names, name) {
			problems = append(problems, fmt.Errorf("-run: there is no part %q; there are %s", name, strings.Join(names, ",")))
		}
	}
	if s.flushes < 1 || s.flushes > 3600 {
		problems = append(problems, fmt.Errorf("-flushes: %d is not between 1 and 3600", s.flushes))
	}
	if s.series < 1 || s.series > 1_000_000 {
		problems = append(problems, fmt.Errorf("-series: %d is not between 1 and 1000000", s.series))
	}
	return s, errors.Join(problems...)
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	s, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, "cairn-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the stores: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{settings: s, clock: clock.NewSystem(), out: out}
	var rows []row
	for _, p := range parts {
		if !slices.Contains(s.run, p.name) {
			continue
		}
		b.say("%s", p.name)
		sub := filepath.Join(dir, p.name)
		more, err := p.measure(b, ctx, sub)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		rows = append(rows, more...)
		if err := os.RemoveAll(sub); err != nil {
			return fmt.Errorf("remove what was measured: %w", err)
		}
	}
	text := markdown(rows, strings.Join(args, " "), b.clock.Now())
	if _, err := io.WriteString(out, "\n"+text); err != nil {
		return err
	}
	if s.markdown != "" {
		return mark.ReplaceIn(s.markdown, text)
	}
	return nil
}

// bench is one run of this program.
type bench struct {
	settings
	clock clock.Clock
	out   io.Writer
}

// say reports progress; nobody has to listen.
func (b *bench) say(format string, args ...any) { _, _ = fmt.Fprintf(b.out, format+"\n", args...) }

// took returns how long f takes.
func (b *bench) took(f func() error) (time.Duration, error) {
	begin := b.clock.Now()
	err := f()
	return b.clock.Now().Sub(begin), err
}

// profiled runs f with a profile, if one is wanted.
func (b *bench) profiled(f func() error) (err error) {
	if b.profile == "" {
		return f()
	}
	file, err := os.Create(b.profile)
	if err != nil {
		return fmt.Errorf("make the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(err, file.Close())
	}
	defer func() {
		pprof.StopCPUProfile()
		err = errors.Join(err, file.Close())
	}()
	return f()
}

// settle waits until the store does nothing in the background, as it would after ten
// real seconds.
func settle(ctx context.Context, s *tsdb.Store) error {
	for idle := 0; idle < 3; idle++ {
		if f := s.Figures(); f.CompactionsRunning+f.FlushesRunning > 0 {
			idle = -1
		}
		if err := child.Wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
