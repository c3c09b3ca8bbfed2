package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
	"github.com/stretchr/testify/require"
)

func TestDatadogClientSendsEveryKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, sort string
		aggregates bool
		options    []statsd.Option
	}{
		{"aggregation", "UDP", true, []statsd.Option{statsd.WithClientSideAggregation()}},
		{"extended aggregation", "UDP", true, []statsd.Option{statsd.WithExtendedClientSideAggregation()}},
		{"extended aggregation", "UDS", true, []statsd.Option{statsd.WithExtendedClientSideAggregation()}},
		{"no aggregation", "UDP", false, []statsd.Option{statsd.WithoutClientSideAggregation()}},
		{"no aggregation", "UDS", false, []statsd.Option{statsd.WithoutClientSideAggregation()}},
		{"telemetry and origin", "UDP", true, []statsd.Option{
			statsd.WithContainerID("0123abc"), statsd.WithCardinality(statsd.CardinalityLow), statsd.WithTelemetryAddr("127.0.0.1:9"),
		}},
	} {
		t.Run(c.name+" over "+c.sort, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "--uds", socketPath(t))
			address := s.UDP
			if c.sort == "UDS" {
				address = "unixgram://" + s.Listener("UDS", "dogstatsd")
			}
			options := append([]statsd.Option{statsd.WithNamespace("dd."), statsd.WithTags([]string{"app:shop"})}, c.options...)
			if c.name != "telemetry and origin" {
				options = append(options, statsd.WithoutTelemetry())
			}
			client, err := statsd.New(address, options...)
			require.NoError(t, err)
			defer client.Close()
			facts := sendEveryDatadogKind(t, client, c.aggregates)
			eventually(t, seenLimit, func() (bool, string) {
				got := s.Total("dd.end", "1s")
				return got == 1, fmt.Sprintf("dd.end is %v, not 1", got)
			})
			require.NoError(t, client.Close())
			f := s.Figures()
			require.Equal(t, 3.0, f[noted])
			require.Zero(t, f.sum("cairn_events_rejected_total"), "%v", f.rejected())
			require.Zero(t, f["cairn_timestamps_ignored_total"])
			requireKept(t, s, int(f[received]), facts)
		})
	}
}

// sendEveryDatadogKind sends all that the client can, and dd.end last, in a flush
// of its own.
func sendEveryDatadogKind(t *testing.T, c *statsd.Client, aggregates bool) (facts []fact) {
	t.Helper()
	do := func(err error) {
		t.Helper()
		require.NoError(t, err)
	}
	now := time.Now()
	tags := []string{"env:prod", "bare"}
	for i := 1; i <= 200; i++ {
		do(c.Incr("hits", nil, 1))
		do(c.Count("sum", int64(i), tags, 1))
		do(c.Histogram("histogram", float64(i), tags, 1))
		do(c.Distribution("distribution", float64(i), tags, 1))
		do(c.TimeInMilliseconds("timer", float64(i), tags, 1))
		do(c.Timing("timing", time.Duration(i)*time.Millisecond, nil, 1))
		do(c.Set("set", "user:"+strconv.Itoa(i%50), tags, 1))
		do(c.Gauge("level", float64(i)-250.5, tags, 1))
		if i%50 == 0 {
			do(c.Flush())
		}
	}
	do(c.CountWithTimestamp("imported", 7, tags, 1, now.Add(-5*time.Minute)))
	do(c.CountWithTimestamp("imported", 8, tags, 1, now.Add(-time.Minute)))
	do(c.GaugeWithTimestamp("measured", 3.5, tags, 1, now.Add(-time.Minute)))
	do(c.GaugeWithTimestamp("measured", -9, tags, 1, now.Add(-5*time.Minute)))
	do(c.Event(&statsd.Event{
		Title: "déploiement", Text: "two\nlines", Timestamp: now, Hostname: "h", AggregationKey: "k", Priority: statsd.Low,
		SourceTypeName: "s", AlertType: statsd.Warning, Tags: tags,
	}))
	do(c.SimpleEvent("short", "text"))
	do(c.ServiceCheck(&statsd.ServiceCheck{
		Name: "disk", Status: statsd.Critical, Timestamp: now, Hostname: "h", Message: "m: full\nvery", Tags: tags,
	}))
	do(c.Flush())
	do(c.Incr("end", nil, 1))
	do(c.Flush())

	facts = []fact{
		counted("dd.hits", 200), counted("dd.sum", 20100), counted("dd.imported", 15), uniques("dd.set", 50),
		{metric: "dd.level", kind: "gauge", fn: "last", want: -50.5}, {metric: "dd.level", kind: "gauge", fn: "last", want: -50.5, filter: "app:shop"},
		{metric: "dd.measured", kind: "gauge", fn: "last", want: 3.5}, {metric: "dd.measured", kind: "gauge", fn: "min", want: -9},
		{metric: "dd.sum", kind: "counter", fn: "count", want: 20100, filter: "env:prod"},
	}
	for _, name := range []string{"histogram", "distribution", "timer", "timing"} {
		facts = append(facts, distribution("dd."+name, 1, 200, 1)...)
	}
	if !aggregates {
		facts = append(facts, fact{metric: "dd.level", kind: "gauge", fn: "count", want: 200}, fact{metric: "dd.level", kind: "gauge", fn: "min", want: -249.5})
	}
	return facts
}
