package flush

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/agg"
	"cairn/internal/clock"
	"cairn/internal/metric"
)

// BenchmarkFlush flushes series that counted in each of ten seconds, in random
// order. The first flush, of new series, is a benchmark of its own.
func BenchmarkFlush(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("series=%d/first", n), func(b *testing.B) { benchmarkFlush(b, n, true) })
		b.Run(fmt.Sprintf("series=%d", n), func(b *testing.B) { benchmarkFlush(b, n, false) })
	}
}

func benchmarkFlush(b *testing.B, n int, first bool) {
	var r *rig
	buf, events := permuted(n)
	fill := func() metric.UnixSec {
		s := r.agg.Stripe(0)
		for range 10 {
			s.Lock()
			s.Add(buf, events, metric.MilliOf(r.clock.Now()))
			s.Unlock()
			r.clock.Advance(time.Second)
			require.NoError(b, r.pump.Tick(metric.SecOf(r.clock.Now())))
		}
		return metric.SecOf(r.clock.Now())
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		if i == 0 || first {
			if r != nil {
				r.close()
			}
			r = &rig{t: b, clock: clock.NewManual(time.Unix(begin, 0)), dir: b.TempDir(), limit: 1 << 21}
			r.open(vfs.Default, 1)
		}
		w := fill()
		if i == 0 && !first {
			require.NoError(b, r.pump.Flush(w))
			w = fill()
		}
		b.StartTimer()
		require.NoError(b, r.pump.Flush(w))
	}
	b.StopTimer()
	r.close()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/series")
}

// permuted returns an event of each of n series, in random order, with their bytes.
func permuted(n int) (buf []byte, events []agg.Raw) {
	for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(n) {
		e := agg.Raw{Bits: math.Float64bits(1), Name: uint32(len(buf)), NameLen: 5}
		buf = fmt.Appendf(buf, "m%04d", i%1000)
		e.Rest = uint32(len(buf))
		buf = fmt.Appendf(buf, "c#env:prod,region:us-east-1,host:web-%05d", i/1000)
		e.RestLen = uint16(uint32(len(buf)) - e.Rest)
		events = append(events, e)
	}
	return buf, events
}
