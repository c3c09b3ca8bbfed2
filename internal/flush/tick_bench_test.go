package flush

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/journal"
	"cairn/internal/metric"
)

// BenchmarkTick ends a second in which each series counted, without and with a
// journal, on the disk of the test's folder.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		for _, journaled := range []bool{false, true} {
			b.Run(fmt.Sprintf("series=%d/journal=%t", n, journaled), func(b *testing.B) { benchmarkTick(b, n, journaled) })
		}
	}
}

func benchmarkTick(b *testing.B, n int, journaled bool) {
	buf, events := permuted(n)
	c := clock.NewManual(time.Unix(begin, 0))
	a := newStripes(1, 1<<21)
	p := &Pump{agg: a, o: Options{Clock: c, Grace: 10 * time.Second}} // a tick does not touch the store
	if journaled {
		open := func() *journal.Log {
			l, err := journal.Open(b.TempDir(), journal.Options{Clock: c, Sync: true})
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, l.Close()) })
			return l
		}
		p.o.Journal = &Journal{Log: open(), Series: open(), Run: 1}
		a.Stripe(0).KeepDeltas()
	}
	second := func() {
		s := a.Stripe(0)
		s.Lock()
		s.Add(buf, events, metric.MilliOf(c.Now()))
		s.Unlock()
		c.Advance(time.Second)
	}
	second()
	require.NoError(b, p.Tick(metric.SecOf(c.Now()))) // all series are new
	for b.Loop() {
		b.StopTimer()
		a.Detach(metric.MaxSec).Release()
		second()
		b.StartTimer()
		require.NoError(b, p.Tick(metric.SecOf(c.Now())))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/series")
	if p.o.Journal != nil {
		s := p.o.Journal.Log.Stats()
		b.ReportMetric(float64(s.AppendedBytes)/float64(b.N+1)/float64(n), "journal-B/series")
	}
}
