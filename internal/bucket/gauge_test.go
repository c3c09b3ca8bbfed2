package bucket

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

func TestGaugeReadings(t *testing.T) {
	g := &Gauge{}
	g.Observe(5, base+1, (base+1).Milli()+7)
	g.Observe(9, base, base.Milli()+999)
	require.Equal(t, Gauge{Count: 2, Sum: 14, Min: 5, Max: 9, Last: 5, At: At{base + 1, 7}}, *g, "an earlier second is not the last")
	g.Observe(-2, base+1, (base+1).Milli()+7)
	require.Equal(t, -2.0, g.Last, "the later call wins")
	g.Observe(8, base+1, (base+1).Milli()+6)
	require.Equal(t, -2.0, g.Last, "it arrived earlier")
	require.Equal(t, Gauge{Count: 4, Sum: 20, Min: -2, Max: 9, Last: -2, At: At{base + 1, 7}}, *g)

	late := &Gauge{}
	late.Observe(1, base, 0)
	require.Equal(t, uint32(0), late.At.Late, "before its second")
	late.Observe(2, base, (base + 100*24*3600).Milli())
	require.Equal(t, At{base, math.MaxUint32}, late.At, "saturates")

	a, b := &Gauge{}, &Gauge{}
	a.Observe(3, base, base.Milli())
	b.Observe(4, base, base.Milli())
	require.Equal(t, 4.0, merged(metric.Gauge, a, b).(*Gauge).Last, "the larger at the same time")
	require.Equal(t, 4.0, merged(metric.Gauge, b, a).(*Gauge).Last)
}

// TestGoldenGauge holds the bytes that docs/format.md draws.
func TestGoldenGauge(t *testing.T) {
	g := &Gauge{}
	g.Observe(20, base+3, (base+3).Milli()+200)
	require.Equal(t, []byte{0x06, 0xc8, 0x01, 0x50}, g.Append(nil, base))
	g.Observe(-1.5, base+3, (base+3).Milli()+5)
	require.Equal(t, []byte{
		0x07, 0xc8, 0x01, 0x50,
		0x08, 0x01, 0, 0, 0, 0, 0, 0x80, 0x32, 0x40, 0x01, 0, 0, 0, 0, 0, 0, 0xf8, 0xbf, 0x50,
	}, g.Append(nil, base))
}

func TestGaugeRefuses(t *testing.T) {
	for why, src := range map[string][]byte{
		"cut after the second":  {0x06},
		"second beyond":         {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0},
		"delay beyond":          {0, 0xff, 0xff, 0xff, 0xff, 0x1f, 0},
		"trailing bytes":        {0, 0, 0, 0},
		"not finite":            {0, 0, 1, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f},
		"count of one":          {1, 0, 4, 4, 4, 4, 4},
		"bounds not around it":  {1, 0, 4, 8, 4, 8, 12},
		"bounds upside down":    {1, 0, 8, 8, 4, 12, 4},
		"count that is 2.5":     {1, 0, 4, 1, 0, 0, 0, 0, 0, 0, 4, 0x40, 4, 4, 4},
		"negative count of two": {1, 0, 4, 6, 4, 4, 4},
	} {
		require.ErrorContains(t, (&Gauge{}).Decode(src, base), "offset", why)
	}
}

func FuzzGauge(f *testing.F) {
	g := &Gauge{}
	for i := range 3 {
		g.Observe(float64(i)*1.5, base+metric.UnixSec(i), (base + 2).Milli())
		f.Add(encode(g))
	}
	f.Add([]byte{1, 0, 4, 8, 4, 4, 4})
	f.Fuzz(func(t *testing.T, src []byte) { fuzz(t, metric.Gauge, src) })
}
