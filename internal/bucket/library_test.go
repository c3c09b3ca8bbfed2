package bucket

import (
	"runtime"
	"slices"
	"testing"

	"github.com/DataDog/sketches-go/ddsketch/encoding"
	"github.com/DataDog/sketches-go/ddsketch/store"
	"github.com/axiomhq/hyperloglog"
	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// These tests hold what docs/decisions/0003-own-sketches.md says of the libraries.
// Where one fails after an update, the decision may be looked at again.

// TestLibrarySetHasNoOneForm: the same members give other bytes after an estimate
// or a merge, though the same estimate.
func TestLibrarySetHasNoOneForm(t *testing.T) {
	encoded := func(s *hyperloglog.Sketch) []byte {
		b, err := s.MarshalBinary()
		require.NoError(t, err)
		return b
	}
	read := axiomWith(0, 1000)
	read.Estimate()
	require.NotEqual(t, encoded(axiomWith(0, 1000)), encoded(read), "an estimate changes the bytes")

	for n := uint64(16_000); n < 18_000; n += 100 { // about where it turns dense
		one, parts := axiomWith(0, n), axiomWith(0, n/2)
		require.NoError(t, parts.Merge(axiomWith(n/2, n)))
		require.Equal(t, one.Estimate(), parts.Estimate(), "%d members", n)
	}
	one, parts := axiomWith(0, 1000), axiomWith(0, 500)
	require.NoError(t, parts.Merge(axiomWith(500, 1000)))
	require.NotEqual(t, encoded(one), encoded(parts), "a merge changes the bytes")
	require.Equal(t, encode(oursWith(0, 1000)), encode(merged(metric.Set, oursWith(500, 1000), oursWith(0, 500))))
}

// TestLibraryDistributionHasOneForm: here the library does as ours.
func TestLibraryDistributionHasOneForm(t *testing.T) {
	values := latencies(1000, 1)
	for i := range values {
		values[i] = float64(int(values[i]))
	}
	back := slices.Clone(values)
	slices.Reverse(back)
	for _, bounded := range []bool{false, true} {
		var a, b, c []byte
		datadogOf(t, bounded, values).Encode(&a, true)
		datadogOf(t, bounded, back).Encode(&b, true)
		m := datadogOf(t, bounded, values[:500])
		require.NoError(t, m.MergeWith(datadogOf(t, bounded, values[500:])))
		m.Encode(&c, true)
		require.Equal(t, a, b, "bounded %t, backwards", bounded)
		require.Equal(t, a, c, "bounded %t, merged from halves", bounded)
	}
}

// TestLibraryDistributionAllocates: bytes that name a bin far away make the default
// store reserve room for all between. This one is kept small.
func TestLibraryDistributionAllocates(t *testing.T) {
	far := store.NewSparseStore()
	far.AddWithCount(0, 1000)
	far.AddWithCount(1<<26, 1000)
	var b []byte
	far.Encode(&b, encoding.FlagTypePositiveStore)
	for _, bounded := range []bool{false, true} {
		d := datadogOf(t, bounded, nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.Error(t, d.DecodeAndMergeWith(b), "no exact sums in it; that is found out last")
		runtime.ReadMemStats(&after)
		took := after.TotalAlloc - before.TotalAlloc
		require.Equal(t, bounded, took < 1<<20, "bounded %t: %d bytes take %d", bounded, len(b), took)
	}
}
