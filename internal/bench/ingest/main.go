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
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"cairn/internal/clock"
)

// settings are the flags.
type settings struct {
	tools    string
	run      []string
	rounds   int
	secs     int
	markdown string
	cairn    string
	serve    []string
}

// longest bounds a whole run: a full one takes about ten minutes.
const longest = 40 * time.Minute

func main() {
	if len(os.Args) == 2 && os.Args[1] == spinCommand {
		spin()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == batchCommand {
		if err := sendBatches(os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "batches:", err)
			os.Exit(1)
		}
		return
	}
	// A reader of our output that goes away must not keep us from cleaning up.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	ctx, cancel := context.WithTimeout(ctx, longest)
	err := run(ctx, os.Args[1:], os.Stdout)
	cancel()
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench-ingest:", err)
		os.Exit(1)
	}
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	var names []string
	for _, w := range workloads {
		names = append(names, w.name)
	}
	names = append(names, "batches", "lossless", "memory")
	f := flag.NewFlagSet("bench-ingest", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&s.tools, "tools", "../shared/bench", "`folder` of the load generator and the sink")
	list := f.String("run", strings.Join(names, ","), "what to measure, separated by commas")
	f.IntVar(&s.rounds, "rounds", 3, "how many times sink and server run in turn")
	f.IntVar(&s.secs, "secs", 8, "how long each of them is sent to, in `seconds`")
	f.StringVar(&s.markdown, "markdown", "", "`file` in which to replace what stands between the marks of a measurement")
	serve := f.String("serve", "", "more flags of the server, separated by blanks")
	f.StringVar(&s.cairn, "cairn", "", "`binary` to measure; empty: build this source")
	if err := f.Parse(args); err != nil {
		return s, flag.ErrHelp // it has been said what is wrong
	}
	s.run, s.serve = strings.Split(*list, ","), strings.Fields(*serve)
	var problems []error
	for _, name := range s.run {
		if !slices.Contains(names, name) {
			problems = append(problems, fmt.Errorf("-run: there is no workload %q; there are %s", name, strings.Join(names, ",")))
		}
	}
	if s.rounds < 1 || s.rounds > 20 {
		problems = append(problems, fmt.Errorf("-rounds: %d is not between 1 and 20", s.rounds))
	}
	if s.secs < 1 || s.secs > 60 {
		problems = append(problems, fmt.Errorf("-secs: %d is not between 1 and 60", s.secs))
	}
	return s, errors.Join(problems...)
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	s, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	if runtime.NumCPU() < 2 {
		return errors.New("the generator and the server need a core each, and there is one only")
	}
	dir, err := os.MkdirTemp("", "cairn-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the binaries: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{settings: s, dir: dir, clock: clock.NewSystem(), out: out}
	if b.tools, err = build(ctx, s, dir); err != nil {
		return err
	}
	restore, err := raiseReceiveLimit()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	if err := b.measure(ctx); err != nil {
		return err
	}
	text := b.report.markdown(strings.Join(args, " "), b.clock.Now())
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
	tools  tools
	dir    string
	clock  clock.Clock
	out    io.Writer
	report results
}

func (b *bench) measure(ctx context.Context) error {
	for _, w := range workloads {
		if !slices.Contains(b.run, w.name) {
			continue
		}
		r, err := b.workload(ctx, w)
		if err != nil {
			return fmt.Errorf("workload %s: %w", w.name, err)
		}
		b.report.rows = append(b.report.rows, r)
	}
	if slices.Contains(b.run, "batches") {
		r, err := b.batches(ctx)
		if err != nil {
			return fmt.Errorf("batches: %w", err)
		}
		b.report.batches = &r
	}
	if slices.Contains(b.run, "lossless") {
		r, err := b.lossless(ctx)
		if err != nil {
			return fmt.Errorf("lossless: %w", err)
		}
		b.report.lossless = &r
	}
	if slices.Contains(b.run, "memory") {
		r, err := b.memory(ctx)
		if err != nil {
			return fmt.Errorf("memory: %w", err)
		}
		b.report.memory = &r
	}
	return nil
}

// say reports progress; nobody has to listen.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.out, format+"\n", args...)
}
