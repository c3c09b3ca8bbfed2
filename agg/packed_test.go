package agg

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestPackedAgainstMap packs random partials and reads them back, by block.
func TestPackedAgainstMap(t *testing.T) {
	sums := rapid.OneOf(
		rapid.Map(rapid.IntRange(-1000, 1000), func(n int) float64 { return float64(n) }),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 0.1, 1e290, -1e290, maxWhole, -maxWhole, maxWhole + 2, 127, 128}),
		rapid.Float64Range(-1e6, 1e6),
	)
	var k packer // used again, as Pack does
	rapid.Check(t, func(t *rapid.T) {
		var l partials
		var pool chunkPool
		want := map[uint32]partial{}
		slots := rapid.SampledFrom([]uint32{3, blockSlots, 5 * blockSlots, 1 << 20}).Draw(t, "slots")
		for range rapid.IntRange(1, 600).Draw(t, "n") {
			p := partial{slot: rapid.Uint32Range(0, slots).Draw(t, "slot"), n: rapid.Uint32Range(1, 300).Draw(t, "n")}
			p.sum = float64(p.n)
			if rapid.Bool().Draw(t, "not all 1") {
				p.sum = sums.Draw(t, "sum")
			}
			l.append(&pool, p)
			w := want[p.slot]
			want[p.slot] = partial{p.slot, w.n + p.n, w.sum + p.sum}
		}
		packed := k.pack(&l)
		last := -1
		for b := range len(packed.blocks) - 1 {
			walkBlock(packed.block(b), b, func(p partial) {
				require.Greater(t, int(p.slot), last, "by slot")
				last = int(p.slot)
				require.Equal(t, b, int(p.slot/blockSlots))
				require.Equal(t, want[p.slot], p)
				delete(want, p.slot)
			})
		}
		require.Empty(t, want)
		require.Empty(t, packed.block(len(packed.blocks)-1))
	})
}

// BenchmarkPack packs a second in which a million series counted.
func BenchmarkPack(b *testing.B) {
	var l partials
	var pool chunkPool
	for i := range uint32(1 << 20) {
		l.append(&pool, partial{slot: i * 769 % (1 << 20), n: i % 7, sum: float64(i % 7)})
	}
	var k packer
	for b.Loop() {
		p := k.pack(&l)
		b.ReportMetric(float64(len(p.bytes)+4*len(p.blocks))/(1<<20), "bytes/sum")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(1<<20), "ns/sum")
}
