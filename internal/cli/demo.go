package cli

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/app"
	"cairn/internal/clock"
	"cairn/internal/config"
	"cairn/internal/metric"
)

func newDemo() *cobra.Command {
	var history time.Duration
	var seed uint64
	c := &cobra.Command{
		Use:   "demo",
		Short: "Serve with the made-up traffic of a small shop",
		Long: `Serve like 'cairn serve', with the made-up traffic of a small shop: counters (page
views, ad clicks, signups, orders, revenue, errors), a gauge (how many orders wait),
a distribution (how long checkouts take) and a set (visitors), with a daily shape,
bursts and an incident, which comes back every half an hour. It begins with some
history, and goes on with live datagrams. A distribution and a set have no history,
because their lines take no timestamps.

It uses a data dir of its own, which is removed at the end.`,
		Example: "  cairn demo\n  cairn demo --history 1h --http 127.0.0.1:9000",
		Args:    cobra.NoArgs,
	}
	loader := config.NewLoader(c.Flags())
	if err := c.Flags().MarkHidden("data-dir"); err != nil {
		panic("BUG: " + err.Error())
	}
	c.Flags().DurationVar(&history, "history", 24*time.Hour, "how much history to make up; at most 168h")
	c.Flags().Uint64Var(&seed, "seed", 0, "of the random traffic; 0: another one each time")
	c.RunE = func(c *cobra.Command, _ []string) error {
		conf, err := loader.Load(os.LookupEnv)
		if err != nil {
			return usageError{err}
		}
		if history < 0 || history > 7*24*time.Hour {
			return usageError{fmt.Errorf("demo: history %s is not between 0s and 168h", history)}
		}
		if len(conf.UDP) == 0 {
			return usageError{errors.New("demo: its traffic goes to a UDP address; give one with --udp")}
		}
		if seed == 0 {
			seed = rand.Uint64()
		}
		return demo(c, conf, history, seed)
	}
	return c
}

func demo(c *cobra.Command, conf config.Config, history time.Duration, seed uint64) (err error) {
	if conf.DataDir, err = os.MkdirTemp("", "cairn-demo-"); err != nil {
		return fmt.Errorf("demo: make a data dir: %w", err)
	}
	defer func() {
		if e := os.RemoveAll(conf.DataDir); err == nil && e != nil {
			err = fmt.Errorf("demo: remove the data dir: %w", e)
		}
	}()
	out := c.OutOrStdout()
	fmt.Fprintf(out, "A demo with made-up traffic, seed %d, in %s, which is removed at the end.\n", seed, conf.DataDir)
	return serve(c.Context(), conf, out, c.ErrOrStderr(), func(ctx context.Context, a *app.App) error {
		s := newShop(clock.NewSystem(), seed)
		s.past(ctx, a, history)
		return s.live(ctx, a.UDPAddr())
	})
}

// tick is how often live traffic is sent: often enough to look even.
const tick = 100 * time.Millisecond

// past counts what the shop did before it began, the latest hour first, because
// that is what the dashboard opens with.
func (s *shop) past(ctx context.Context, a *app.App, history time.Duration) {
	const chunk = 3600
	var lines []byte
	oldest := s.begin - metric.UnixSec(history/time.Second)
	for end := s.begin; end > oldest; end -= chunk {
		for t := max(oldest, end-chunk); t < end; t++ {
			if ctx.Err() != nil {
				return
			}
			lines = s.appendLines(lines[:0], t, 1, fmt.Sprintf("|T%d", t))
			a.Inject(lines)
		}
	}
}

// live sends datagrams until ctx ends.
func (s *shop) live(ctx context.Context, address string) error {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer conn.Close()
	t := time.NewTicker(tick)
	defer t.Stop()
	var lines []byte
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		lines = s.appendLines(lines[:0], metric.SecOf(s.clock.Now()), tick.Seconds(), "")
		if len(lines) == 0 {
			continue
		}
		if _, err := conn.Write(lines); err != nil {
			return fmt.Errorf("demo: send: %w", err)
		}
	}
}
