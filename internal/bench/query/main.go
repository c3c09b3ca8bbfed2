//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"cairn/internal/bench/child"
	"cairn/internal/clock"
)

// settings are the flags.
type settings struct {
	tools    string
	run      []string
	rounds   int
	secs     int
	rate     float64
	days     int
	wide     int
	compact  bool
	keep     string
	cairn    string
	victoria string
	serve    []string
	markdown string
}

// longest bounds a whole run: a full one takes some five minutes.
const longest = 40 * time.Minute

func main() {
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
		fmt.Fprintln(os.Stderr, "bench-query:", err)
		os.Exit(1)
	}
}

// names are those of everything that can be measured.
func names() (out []string) {
	for _, q := range questions(new(dataset)) {
		out = append(out, q.name)
	}
	return append(out, dashboardName)
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("bench-query", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&s.tools, "tools", "../shared/bench", "`folder` of the load generator")
	list := f.String("run", strings.Join(names(), ","), "what to measure, separated by commas")
	f.IntVar(&s.rounds, "rounds", 30, "how many times each query is timed")
	f.IntVar(&s.secs, "secs", 30, "how long the dashboard reloads, in `seconds`")
	f.Float64Var(&s.rate, "rate", 0, "`events` a second that are sent beside the dashboard; 0: half of what is counted flat out")
	f.IntVar(&s.days, "days", 30, "how many days of data there are; the bars are for the default")
	f.IntVar(&s.wide, "wide", 100_000, "how many series the metric of many has; the bars are for the default")
	f.BoolVar(&s.compact, "compact", true, "compact Cairn's store; false leaves it as its own compactions do")
	f.StringVar(&s.keep, "keep", "", "`folder` to keep the data in for further runs; empty: they are removed")
	f.StringVar(&s.cairn, "cairn", "", "`binary` to measure; empty: build this source")
	f.StringVar(&s.victoria, "victoria", "get", "`binary` of VictoriaMetrics; get: that of Debian's package; empty: none")
	serve := f.String("serve", "", "more flags of the server, separated by blanks")
	f.StringVar(&s.markdown, "markdown", "", "`file` in which to replace what stands between the marks of a measurement")
	if err := f.Parse(args); err != nil {
		return s, flag.ErrHelp // it has been said what is wrong
	}
	s.run, s.serve = strings.Split(*list, ","), strings.Fields(*serve)
	var problems []error
	for _, name := range s.run {
		if !slices.Contains(names(), name) {
			problems = append(problems, fmt.Errorf("-run: there is no query %q; there are %s", name, strings.Join(names(), ",")))
		}
	}
	for _, n := range []struct {
		flag          string
		got, min, max int
	}{{"-rounds", s.rounds, 1, 10_000}, {"-secs", s.secs, 1, 600}, {"-days", s.days, 2, 35}, {"-wide", s.wide, 1, 1_000_000}} {
		if n.got < n.min || n.got > n.max {
			problems = append(problems, fmt.Errorf("%s: %d is not between %d and %d", n.flag, n.got, n.min, n.max))
		}
	}
	if !(s.rate >= 0) {
		problems = append(problems, fmt.Errorf("-rate: %g is less than 0", s.rate))
	}
	return s, errors.Join(problems...)
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	s, err := parse(args, os.Stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cairn-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{settings: s, dir: dir, clock: clock.NewSystem(), out: out}
	if b.keep == "" {
		b.keep = filepath.Join(dir, "data")
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	rows, wrong, err := b.measure(ctx)
	if err != nil {
		return err
	}
	text := markdown(rows, strings.Join(args, " "), b.clock.Now())
	if _, err := io.WriteString(out, "\n"+text); err != nil {
		return err
	}
	if wrong == nil && s.markdown != "" {
		return mark.ReplaceIn(s.markdown, text)
	}
	return wrong
}

// bench is one run of this program.
type bench struct {
	settings
	dir   string // of this run
	data  dataset
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

// prepare makes binaries and data.
func (b *bench) prepare(ctx context.Context) (err error) {
	if err = os.MkdirAll(b.keep, 0o755); err != nil {
		return err
	}
	if b.victoria, err = child.VictoriaOf(ctx, b.victoria, filepath.Join(b.keep, "package")); err != nil {
		return err
	}
	if b.cairn == "" {
		b.cairn = filepath.Join(b.dir, "cairn")
		if err := child.BuildCairn(ctx, b.cairn); err != nil {
			return err
		}
	}
	return b.fill(ctx)
}

// measure returns the rows, and what was wrong with answers.
func (b *bench) measure(ctx context.Context) (rows []row, wrong, err error) {
	var asked []question
	for _, q := range questions(&b.data) {
		if slices.Contains(b.run, q.name) {
			asked = append(asked, q)
		}
	}
	if len(asked) > 0 {
		if rows, wrong, err = b.askAll(ctx, asked); err != nil {
			return nil, nil, err
		}
	}
	if slices.Contains(b.run, dashboardName) {
		r, err := b.dashboard(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", dashboardName, err)
		}
		rows = append(rows, r)
	}
	return rows, wrong, nil
}

// askAll asks both servers, whose caches of results are off.
func (b *bench) askAll(ctx context.Context, asked []question) (rows []row, wrong, err error) {
	flags, err := b.cacheOff(ctx)
	if err != nil {
		return nil, nil, err
	}
	cairn, err := b.startCairn(ctx, child.AnyCore, flags...)
	if err != nil {
		return nil, nil, err
	}
	defer cairn.Close()
	var victoria server // nil: none
	if b.victoria != "" {
		v, err := child.StartVictoria(ctx, longest, b.victoria, b.victoriaDir(), victoriaFlags...)
		if err != nil {
			return nil, nil, err
		}
		defer v.Close()
		if err := v.Merged(ctx); err != nil {
			return nil, nil, err
		}
		victoria = v
	}
	for _, q := range asked {
		m, err := b.ask(ctx, q, cairn, victoria)
		var differ wrongError
		if errors.As(err, &differ) {
			wrong, err = errors.Join(wrong, fmt.Errorf("%s: %w", q.name, err)), nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", q.name, err)
		}
		b.say("%-7s native %s, PromQL %s, VictoriaMetrics %s", q.name, m.native.median(), m.prom.median(), m.victoria.median())
		rows = append(rows, m.rows()...)
	}
	return rows, wrong, nil
}

// cacheOff returns the flags that switch the server's cache of results off.
func (b *bench) cacheOff(ctx context.Context) ([]string, error) {
	const name = "--query-cache"
	text, err := exec.CommandContext(ctx, b.cairn, "serve", "--help").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its flags: %w", b.cairn, err)
	}
	if !strings.Contains(string(text), name+" ") {
		b.say("this server has no %s: nothing to switch off", name)
		return nil, nil
	}
	return []string{name, "0"}, nil
}

// startCairn starts a server on a copy of the data: it may change them.
func (b *bench) startCairn(ctx context.Context, core int, flags ...string) (*child.Cairn, error) {
	dir, err := os.MkdirTemp(b.dir, "serve-")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(b.cairnDir()))
	}
	if err != nil {
		return nil, fmt.Errorf("copy Cairn's data: %w", err)
	}
	flags = append([]string{"--retention", retention}, flags...)
	return child.StartCairn(ctx, core, longest, b.cairn, dir, append(flags, b.serve...)...)
}
