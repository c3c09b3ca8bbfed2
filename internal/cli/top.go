package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/clock"
)

type topFlags struct {
	server     string
	sort       string
	limit      int
	interval   time.Duration
	once, json bool
}

// topSorts are what metrics can be ordered by, in the order in which the key s takes them.
var topSorts = []string{"events", "series", "seen", "name"}

func newTop() *cobra.Command {
	var f topFlags
	c := &cobra.Command{
		Use:   "top",
		Short: "Watch a running server: the busiest metrics and series",
		Long: `Show what a running server counts right now: the metrics with the most events, the
series with the most events, and whether every event is accounted for. Events a second
are those of the last ten complete seconds. NOW is what a metric itself says: a counter's
units a second, a gauge's last reading, a distribution's p95, a set's members, of the
last minute, which is also what the picture shows.

On a terminal the screen is drawn anew every second. Keys: q quits, s sorts by something
else (events, series, seen, name), r the other way around, + and - change how many rows
there are at most, space pauses.`,
		Example: `  cairn top
  cairn top --sort series --limit 20
  cairn top --once
  cairn top --json --interval 10s >> hot.ndjson`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return usageError{fmt.Errorf("top: %w", err)}
			}
			return runTop(c.Context(), displayOf(c.OutOrStdout()), os.Stdin, f, clock.NewSystem())
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.server, "server", "http://127.0.0.1:8127", "`URL` of the server")
	fl.StringVar(&f.sort, "sort", "events", "what metrics are ordered by: "+strings.Join(topSorts, ", "))
	fl.IntVar(&f.limit, "limit", 10, "metrics, and series, to show")
	fl.DurationVar(&f.interval, "interval", time.Second, "time between refreshes, 200ms or more")
	fl.BoolVar(&f.once, "once", false, "print one frame and end")
	fl.BoolVar(&f.json, "json", false, "print a line of JSON each refresh")
	return c
}

// Bounds of what top shows.
const (
	maxTop      = 100
	minInterval = 200 * time.Millisecond
	maxInterval = time.Hour
)

func (f *topFlags) check() error {
	switch {
	case !slices.Contains(topSorts, f.sort):
		return fmt.Errorf("--sort %q is not %s", f.sort, strings.Join(topSorts, ", "))
	case f.limit < 1 || f.limit > maxTop:
		return fmt.Errorf("--limit %d is not between 1 and %d", f.limit, maxTop)
	case f.interval < minInterval || f.interval > maxInterval:
		return fmt.Errorf("--interval %s is not between %s and %s", f.interval, minInterval, maxInterval)
	}
	return nil
}

// runTop shows frames until ctx ends, a signal or a key stops it, or, with --once, one.
func runTop(ctx context.Context, d display, keys *os.File, f topFlags, c clock.Clock) error {
	if !d.terminal && !f.once && !f.json {
		return usageError{errors.New("top: the output is no terminal; print one frame with --once, or lines with --json")}
	}
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := endSignals(ctx)
	defer stop()
	transport := &http.Transport{MaxIdleConnsPerHost: 2}
	defer transport.CloseIdleConnections()
	p := &probe{server: f.server, client: &http.Client{Transport: transport}, clock: c}
	order := topOrder{sort: f.sort, limit: f.limit}
	first, err := p.take(ctx, order)
	switch {
	case errors.Is(err, context.Canceled):
		return nil
	case err != nil:
		return topFailure(err, f.server)
	case f.json:
		return topLines(ctx, d.out, p, order, f, first)
	case f.once:
		_, err := io.WriteString(d.out, strings.Join(frame(d, first, order), "\n")+"\n")
		return err
	}
	return watch(ctx, d, keys, p, order, f.interval, first)
}

func topFailure(err error, server string) error {
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("top: %s has not answered within %s", server, probeTime)
	}
	return fmt.Errorf("top: %w", err)
}

// topLines prints a sample a line; that ctx ends is no failure.
func topLines(ctx context.Context, out io.Writer, p *probe, order topOrder, f topFlags, s *sample) error {
	t := time.NewTicker(f.interval)
	defer t.Stop()
	for {
		b, err := json.Marshal(s.shown(order))
		if err != nil {
			return fmt.Errorf("top: %w", err)
		}
		if _, err := out.Write(append(b, '\n')); err != nil || f.once {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		if s, err = p.take(ctx, order); errors.Is(err, context.Canceled) {
			return nil
		} else if err != nil {
			return topFailure(err, f.server)
		}
	}
}

// watch redraws the screen until it is told to end. The terminal is as it was afterwards.
func watch(ctx context.Context, d display, tty *os.File, p *probe, order topOrder, interval time.Duration, first *sample) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	s := newScreen(d)
	if err := s.open(tty); err != nil {
		cancel()
		return fmt.Errorf("top: %w", err)
	}
	w := &watcher{screen: s, order: order, last: first, server: p.server}
	keys, samples, orders := make(chan byte), make(chan taken), make(chan topOrder, 1)
	var workers sync.WaitGroup
	workers.Go(func() { readKeys(ctx, tty, keys) })
	workers.Go(func() { p.run(ctx, order, interval, orders, samples) })
	defer func() {
		cancel()
		workers.Wait()
		err = errors.Join(err, s.close())
	}()
	for {
		if err := w.draw(); err != nil {
			return fmt.Errorf("top: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case key := <-keys:
			if w.press(key) {
				return nil
			}
			select {
			case <-orders: // one that was not taken yet
			default:
			}
			orders <- w.order
		case t := <-samples:
			w.take(t)
		}
	}
}

// watcher is what is on the screen.
type watcher struct {
	screen  *screen
	order   topOrder
	last    *sample
	trouble error // of the latest refresh
	paused  bool
	server  string
}

func (w *watcher) take(t taken) {
	if w.trouble = t.err; t.err == nil && !w.paused {
		w.last = t.sample
	}
}

// press does what a key says, and reports whether it is to end.
func (w *watcher) press(key byte) (quit bool) {
	switch key {
	case 'q', 'Q', 3, 4: // ctrl-C and ctrl-D
		return true
	case 's':
		w.order.sort = topSorts[(slices.Index(topSorts, w.order.sort)+1)%len(topSorts)]
	case 'r':
		w.order.reverse = !w.order.reverse
	case '+':
		w.order.limit = min(maxTop, w.order.limit+1)
	case '-':
		w.order.limit = max(1, w.order.limit-1)
	case ' ':
		w.paused = !w.paused
	}
	return false
}

func (w *watcher) draw() error {
	w.screen.d.measure()
	lines := frame(w.screen.d, w.last, w.order)
	note := "q quit  s sort  r reverse  + - rows  space pause"
	if w.paused {
		note = "paused: space goes on"
	}
	if w.trouble != nil {
		note = "trying again: " + strings.TrimPrefix(topFailure(w.trouble, w.server).Error(), "top: ")
	}
	return w.screen.draw(lines, note, w.trouble != nil)
}
