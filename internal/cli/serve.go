package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"

	"cairn/internal/app"
	"cairn/internal/clock"
	"cairn/internal/config"
)

func newServe() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Receive, store and serve counts until a signal ends it",
		Long: `Receive, store and serve counts until SIGINT or SIGTERM, which drain the
sockets, flush everything and exit; so does SIGHUP, except under nohup.

Each flag can also be given as an environment variable (--max-series as
CAIRN_MAX_SERIES) or in the YAML file that --config names (max-series: 100000).
The command line goes before the environment, and that before the file.`,
		Example: `  cairn serve
  cairn serve --udp 0.0.0.0:8125 --data-dir /var/lib/cairn
  cairn serve --udp 127.0.0.1:8125,etsy@127.0.0.1:8126 --uds /run/cairn/statsd.sock
  CAIRN_HTTP=127.0.0.1:9000 cairn serve --config /etc/cairn.yaml`,
		Args: cobra.NoArgs,
	}
	loader := config.NewLoader(c.Flags())
	c.RunE = func(c *cobra.Command, _ []string) error {
		conf, err := loader.Load(os.LookupEnv)
		if err != nil {
			return usageError{err}
		}
		return serve(c.Context(), conf, c.OutOrStdout(), c.ErrOrStderr(), nil)
	}
	return c
}

// serve runs the server until a signal or a failure. during runs beside it, if
// it is not nil, until its context ends.
func serve(ctx context.Context, c config.Config, stdout, stderr io.Writer, during func(context.Context, *app.App) error) error {
	if err := config.UnsetInherited(os.Unsetenv); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	log := newLog(c, stderr)
	seed := rand.Uint64()
	log.Debug("hash functions are seeded", "seed", seed)
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := stopSignals(ctx)
	defer stop()
	a, err := app.Open(c, app.Env{
		Clock: clock.NewSystem(), Log: log, Seed: seed, MemoryLimit: limitMemory(c, log),
		Fatal: func(sentence string) {
			fmt.Fprintf(stderr, "cairn: %s\n", sentence)
			os.Exit(1)
		},
	})
	if err != nil {
		return err
	}
	a.Start()
	greet(stdout, a)

	work, cancel := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() {
		if during == nil {
			worked <- nil
			return
		}
		worked <- during(work, a)
	}()
	var failure error
	select {
	case <-ctx.Done():
		stop() // a second signal ends the process at once
		fmt.Fprintln(stdout, "Stopping: draining the sockets and flushing.")
	case failure = <-a.Failed():
	}
	cancel()
	failure = errors.Join(failure, <-worked)
	if err := errors.Join(failure, a.Close()); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "Stopped; everything received is stored.")
	return nil
}

// stopSignals returns a context that ends with a signal to stop, for what must not end
// otherwise.
func stopSignals(ctx context.Context) (context.Context, context.CancelFunc) {
	// A reader of the output that went away must not end the process, least of
	// all when it says that it stops, before everything is flushed.
	signal.Ignore(syscall.SIGPIPE)
	return endSignals(ctx)
}

// endSignals is stopSignals for what ends where nobody reads its output.
func endSignals(ctx context.Context) (context.Context, context.CancelFunc) {
	stops := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		stops = append(stops, syscall.SIGHUP) // its terminal was closed; nohup says to stay
	}
	return signal.NotifyContext(ctx, stops...)
}

// limitMemory sets Go's memory limit, so that the collector works harder before
// the kernel kills, and returns it: what was asked for, or 90% of what the container
// or the machine has. GOMEMLIMIT goes before the latter.
func limitMemory(c config.Config, log *slog.Logger) uint64 {
	if c.MaxMemory > 0 {
		debug.SetMemoryLimit(int64(c.MaxMemory))
		return uint64(c.MaxMemory)
	}
	_, err := memlimit.Set(
		memlimit.WithRatio(0.9), memlimit.WithLogger(slog.New(slog.DiscardHandler)),
		memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)),
	)
	if err != nil {
		log.Debug("no memory limit was found", "reason", err)
	}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return uint64(limit)
	}
	return 0
}

func newLog(c config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		panic("BUG: a log level that config let pass: " + c.LogLevel)
	}
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// greet tells a newcomer what to do next, in one write.
func greet(w io.Writer, a *app.App) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Cairn %s\n", app.Version)
	fmt.Fprintf(&b, "  dashboard     http://%s\n", dialable(a.HTTPAddr()))
	example := ""
	for _, l := range a.Listeners() {
		dialect := ""
		if l.Dialect != "dogstatsd" {
			dialect = "  dialect " + l.Dialect
		}
		fmt.Fprintf(&b, "  StatsD (%s)  %s%s\n", l.Kind, l.Addr, dialect)
		if example == "" {
			example = sendTo(l)
		}
	}
	if example != "" {
		fmt.Fprintf(&b, "  send a count  printf 'signups:1|c|#env:prod' %s\n", example)
	}
	_, _ = w.Write(b.Bytes()) // nobody has to listen
}

// sendTo returns how a shell sends to a listener.
func sendTo(l app.Listener) string {
	host, port, err := net.SplitHostPort(dialable(l.Addr))
	switch {
	case l.Kind == "UDS" || err != nil:
		return fmt.Sprintf("| nc -uU -w0 '%s'", l.Addr)
	case l.Kind == "TCP":
		return fmt.Sprintf("> /dev/tcp/%s/%s", host, port)
	}
	return fmt.Sprintf("> /dev/udp/%s/%s", host, port)
}

// dialable replaces an unspecified address by the loopback one.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(strings.TrimSuffix(host, "%")); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
