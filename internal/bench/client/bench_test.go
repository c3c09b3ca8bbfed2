package client

import (
	"context"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
	victoria "github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/uber-go/tally/v4"

	ours "cairn/client"
)

// sink returns the address of a socket that nobody reads: the kernel throws away what does
// not fit into its buffer, and that costs the least.
func sink(b *testing.B) string {
	b.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := conn.Close(); err != nil {
			b.Error(err)
		}
	})
	return conn.LocalAddr().String()
}

func cairn(b *testing.B) *ours.Client {
	b.Helper()
	c, err := ours.New("udp://" + sink(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return c
}

func datadog(b *testing.B) *statsd.Client {
	b.Helper()
	c, err := statsd.New(sink(b), statsd.WithoutTelemetry(), statsd.WithClientSideAggregation())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}

func tallied(b *testing.B) tally.Scope {
	b.Helper()
	s, closer := tally.NewRootScope(tally.ScopeOptions{Reporter: tally.NullStatsReporter}, time.Second)
	b.Cleanup(func() {
		if err := closer.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// both measures f from one goroutine, and from as many as there are processors.
func both(b *testing.B, name string, f func(b *testing.B) func(i int)) {
	b.Run(name+"/one", func(b *testing.B) {
		call := f(b)
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			call(i)
		}
	})
	b.Run(name+"/parallel", func(b *testing.B) {
		call := f(b)
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				call(i)
			}
		})
	})
}

func BenchmarkInc(b *testing.B) {
	both(b, "atomic", func(*testing.B) func(int) {
		var n atomic.Int64
		return func(int) { n.Add(1) }
	})
	both(b, "cairn", func(b *testing.B) func(int) {
		n := cairn(b).Counter("signups", ours.Tag("env", "prod"))
		return func(int) { n.Inc() }
	})
	both(b, "client_golang", func(*testing.B) func(int) {
		n := prometheus.NewCounter(prometheus.CounterOpts{Name: "signups"})
		return func(int) { n.Inc() }
	})
	both(b, "tally", func(b *testing.B) func(int) {
		n := tallied(b).Counter("signups")
		return func(int) { n.Inc(1) }
	})
	both(b, "victoriametrics", func(*testing.B) func(int) {
		n := victoria.NewSet().NewCounter("signups")
		return func(int) { n.Inc() }
	})
}

// BenchmarkCount counts by name and three tags, which are looked up each time.
func BenchmarkCount(b *testing.B) {
	for _, series := range []int{1, 1000} {
		customers := make([]string, series)
		for i := range customers {
			customers[i] = "customer-" + strconv.Itoa(i)
		}
		suffix := "-" + strconv.Itoa(series)
		both(b, "cairn"+suffix, func(b *testing.B) func(int) {
			c := cairn(b)
			return func(i int) {
				c.Count("signups", 1, ours.Tag("env", "prod"), ours.Tag("region", "eu-west-1"), ours.Tag("customer", customers[i%series]))
			}
		})
		both(b, "datadog-go"+suffix, func(b *testing.B) func(int) {
			c := datadog(b)
			tags := make([][]string, series)
			for i := range tags {
				tags[i] = []string{"env:prod", "region:eu-west-1", "customer:" + customers[i]}
			}
			return func(i int) { _ = c.Count("signups", 1, tags[i%series], 1) }
		})
		both(b, "client_golang"+suffix, func(*testing.B) func(int) {
			v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "signups"}, []string{"env", "region", "customer"})
			return func(i int) { v.WithLabelValues("prod", "eu-west-1", customers[i%series]).Inc() }
		})
	}
}
