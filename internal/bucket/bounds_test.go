package bucket

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestBoundsHoldWhatWasObserved: bins tile, and each has as much as was observed between its
// bounds, but for what lies on one.
func TestBoundsHoldWhatWasObserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOf(rapid.OneOf(
			// Not further apart than what is kept apart.
			rapid.Float64Range(-1e6, -1e-6), rapid.Float64Range(1e-6, 1e6), rapid.SampledFrom([]float64{0, 1, -1, 1e-310, 250}),
		)).Draw(t, "values")
		d := &Distribution{}
		for _, v := range values {
			d.Observe(v, 2)
		}
		total, above := 0.0, 0
		last := -1e300
		d.Bounds(func(lower, upper, weight float64) {
			require.Less(t, lower, upper)
			require.LessOrEqual(t, last, lower)
			last = upper
			total += weight
			in := 0
			for _, v := range values {
				if v >= lower-1e-9*max(lower, -lower) && v <= upper+1e-9*max(upper, -upper) {
					in++
				}
			}
			require.GreaterOrEqual(t, float64(2*in), weight)
			above++
		})
		require.Equal(t, d.Count, total)
		require.LessOrEqual(t, above, len(values))
	})
}
