package e2e

import (
	"strconv"
	"testing"
	"time"

	"github.com/cactus/go-statsd-client/v5/statsd"
	"github.com/stretchr/testify/require"
)

// TestCactusClient sends with go-statsd-client, which writes tags in three ways
// and changes gauges as Etsy's StatsD lets one.
func TestCactusClient(t *testing.T) {
	t.Parallel()
	for name, format := range map[string]statsd.TagFormat{
		"DogStatsD": statsd.SuffixOctothorpe, "Influx": statsd.InfixComma, "Graphite": statsd.InfixSemicolon,
	} {
		for _, buffered := range []bool{false, true} {
			t.Run(name+" buffered "+strconv.FormatBool(buffered), func(t *testing.T) {
				t.Parallel()
				s := startServer(t, "--udp", "etsy@127.0.0.1:0")
				c, err := statsd.NewClientWithConfig(&statsd.ClientConfig{
					Address: s.Listener("UDP", "etsy"), Prefix: "go", UseBuffered: buffered, TagFormat: format,
				})
				require.NoError(t, err)
				events, facts := sendCactus(t, c)
				require.NoError(t, c.Close())
				require.Zero(t, s.AwaitReceived(events).sum("cairn_events_rejected_total"))
				for _, row := range s.Metrics() {
					require.Equal(t, 1, row.Series, row.Metric)
				}
				for _, f := range facts {
					f.filter = "env:prod"
					facts = append(facts, f)
				}
				requireKept(t, s, events, facts)
			})
		}
	}
}

func sendCactus(t *testing.T, c statsd.Statter) (events int, facts []fact) {
	t.Helper()
	do := func(err error) {
		t.Helper()
		require.NoError(t, err)
		events++
	}
	tags := []statsd.Tag{{"env", "prod"}, {"region", "eu"}}
	for i := 1; i <= 100; i++ {
		do(c.Inc("sum", int64(i), 1, tags...))
		do(c.Dec("stock", 2, 1, tags...))
		do(c.Timing("timing", int64(i), 1, tags...))
		do(c.TimingDuration("duration", time.Duration(i)*time.Millisecond, 1, tags...))
		do(c.Set("set", "user"+strconv.Itoa(i%40), 1, tags...))
		do(c.SetInt("numbers", int64(i%30), 1, tags...))
	}
	do(c.Gauge("level", 100, 1, tags...))
	do(c.GaugeDelta("level", 20, 1, tags...))
	do(c.GaugeDelta("level", -50, 1, tags...))
	do(c.Raw("raw", "1.5|c", 1, tags...))
	facts = []fact{counted("go.sum", 5050), counted("go.stock", -200), counted("go.raw", 1.5), uniques("go.set", 40), uniques("go.numbers", 30)}
	facts = append(facts, gauge("go.level", 100, 120, 70)...)
	facts = append(facts, distribution("go.timing", 1, 100, 1)...)
	return events, append(facts, distribution("go.duration", 1, 100, 1)...)
}
