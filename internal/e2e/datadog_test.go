package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
	"github.com/stretchr/testify/require"
)

func TestDatadogClient(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]statsd.Option{
		"aggregation":          {statsd.WithClientSideAggregation()},
		"extended aggregation": {statsd.WithExtendedClientSideAggregation()},
		"no aggregation":       {statsd.WithoutClientSideAggregation()},
		"no aggregation, channel": {
			statsd.WithoutClientSideAggregation(), statsd.WithChannelMode(),
			statsd.WithChannelModeBufferSize(1 << 16), // or it drops what comes too fast
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			k := newKnown()
			end := sendDatadog(t, s, k, append(options, statsd.WithoutTelemetry(), statsd.WithNamespace("dd."), statsd.WithTags([]string{"app:shop"})))
			if name == "aggregation" || name == "extended aggregation" {
				eventually(t, seenLimit, func() (bool, string) {
					got := s.Total("dd.last", "1s")
					return got == 1, fmt.Sprintf("dd.last is %v, not 1", got)
				})
			} else {
				s.AwaitReceived(k.events)
			}
			end() // not before: in channel mode Close drops what is in the channel
			k.require(t, s)
			require.Equal(t, map[string]float64{"shop": k.totals["dd.orders"]}, s.By("dd.orders", "10s", "app"))
			s.AwaitFlushed(func() { k.require(t, s) })
			requireBalance(t, s.Figures())
			require.Zero(t, s.Figures().sum("cairn_events_rejected_total"))
			s.MustStop()
			s = startServer(t, "--data-dir", s.Dir)
			k.require(t, s)
		})
	}
}

// sendDatadog sends through a client, which end closes. The metric dd.last is
// sent last, in a flush of its own.
func sendDatadog(t *testing.T, s *server, k *known, options []statsd.Option) (end func()) {
	t.Helper()
	failed := make(chan error, 1)
	options = append(options, statsd.WithErrorHandler(func(err error) {
		select {
		case failed <- err:
		default:
		}
	}))
	c, err := statsd.New(s.UDP, options...)
	require.NoError(t, err)
	past := time.Now().Add(-20 * time.Minute)
	for i := range 2000 {
		env, region := []string{"prod", "dev"}[i%2], []string{"eu", "us", "ap"}[i%3]
		tags := []string{"env:" + env, "region:" + region}
		require.NoError(t, c.Incr("hits", nil, 1))
		k.add("dd.hits", "", "", 1, 1)
		require.NoError(t, c.Count("orders", int64(i), tags, 1))
		k.add("dd.orders", env, region, float64(i), 1)
		require.NoError(t, c.Decr("stock", tags, 1))
		k.add("dd.stock", env, region, -1, 1)
		if i%10 == 0 {
			require.NoError(t, c.CountWithTimestamp("imported", 7, tags, 1, past.Add(time.Duration(i)*time.Millisecond)))
			k.add("dd.imported", env, region, 7, 1)
		}
		if i%200 == 199 {
			require.NoError(t, c.Flush()) // not all in one burst
		}
	}
	require.NoError(t, c.Flush())
	require.NoError(t, c.Incr("last", nil, 1))
	k.add("dd.last", "", "", 1, 1)
	require.NoError(t, c.Flush())
	t.Cleanup(func() { _ = c.Close() }) // where the test fails before end
	return func() {
		require.NoError(t, c.Close())
		select {
		case err := <-failed:
			require.NoError(t, err, "the client could not send everything")
		default:
		}
	}
}
