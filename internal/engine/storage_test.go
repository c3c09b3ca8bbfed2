package engine

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// TestStorageIsMeasuredAndCounted asks a running engine, and then the data dir it leaves.
func TestStorageIsMeasuredAndCounted(t *testing.T) {
	w := newWorld(t, func(n int) int { return n - 1 })
	w.open()
	before, err := w.e.Storage(10)
	require.NoError(t, err)
	require.Nil(t, before.AsOf, "nothing is counted while the journal is replayed")
	require.Empty(t, before.Metrics)
	w.replay()
	for range 20 {
		w.datagram()
	}
	require.NoError(t, w.e.Pump.Flush(metric.SecOf(w.clock.Now().Add(time.Hour))))
	_, err = w.e.Storage(10)
	require.NoError(t, err)
	w.e.storage.wg.Wait()
	got, err := w.e.Storage(1)
	require.NoError(t, err)
	require.NotNil(t, got.AsOf)
	require.Len(t, got.Metrics, 1)
	require.Equal(t, before.MeasuredAt, got.MeasuredAt, "no minute went by")
	w.clock.Advance(measureEvery)
	got, err = w.e.Storage(1)
	require.NoError(t, err)
	require.NotEqual(t, before.MeasuredAt, got.MeasuredAt)
	for _, tier := range got.Tiers {
		require.NotZero(t, tier.Partitions, tier.Tier)
		require.NotNil(t, tier.Oldest, tier.Tier)
		require.NotZero(t, *tier.Samples, tier.Tier)
	}
	require.NoError(t, w.e.Close())
	r, err := InspectDir(context.Background(), w.fs, "data", false, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Empty(t, r.Damaged)
	require.Equal(t, got.MetricsTotal, len(r.Metrics))
	sum := r.IndexBytes + r.OtherBytes + r.LogBytes + r.FileBytes
	for i := range r.Tiers {
		require.Equal(t, *got.Tiers[i].Series, r.Tiers[i].Series)
		require.Equal(t, *got.Tiers[i].Samples, r.Tiers[i].Samples)
		sum += r.Tiers[i].Bytes
	}
	require.Equal(t, r.StoreBytes, sum)
	require.Equal(t, r.TotalBytes, r.StoreBytes+r.JournalBytes)
	require.NotZero(t, r.JournalBytes)
}
