package tsdb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"cairn/internal/bucket"
	"cairn/internal/chunk"
	"cairn/internal/metric"
)

var bucketKinds = []metric.Kind{metric.Gauge, metric.Distribution, metric.Set}

// randomBucket is one with a few events in sec.
func randomBucket(rng *rand.Rand, k metric.Kind, sec metric.UnixSec) bucket.Bucket {
	b := bucket.New(k)
	for range 1 + rng.IntN(4) {
		switch b := b.(type) {
		case *bucket.Gauge:
			b.Observe(float64(rng.IntN(100)-50), sec, sec.Milli()+metric.UnixMilli(rng.IntN(1000)))
		case *bucket.Distribution:
			b.Observe(float64(rng.IntN(1000)-100), float64(1+rng.IntN(3)))
		case *bucket.Set:
			b.Insert(bucket.HashMember([]byte{byte(rng.IntN(256)), byte(rng.IntN(4))}))
		}
	}
	return b
}

// TestBucketsAgainstMap writes random buckets of each kind in many batches, with
// flushes and compactions between them, and compares every tier with buckets that
// were merged one by one.
func TestBucketsAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewMem()
	s := open(t, fs)
	type at struct {
		series metric.Series
		tier   metric.Tier
		sec    metric.UnixSec
	}
	want := map[at]bucket.Bucket{}
	events := uint64(0)
	for i := range 40 {
		b := s.NewBatch()
		for _, k := range bucketKinds {
			series := metric.Series{ID: metric.ID{Name: "m", Kind: k}, Tags: metric.NewTagset([]metric.Tag{{Key: "host", Value: fmt.Sprint(rng.IntN(3))}})}
			var dated []bucket.Dated
			for _, sum := range randomSums(rng, 1+rng.IntN(40)) {
				d := bucket.Dated{Sec: sum.Sec, Events: 2, Bucket: randomBucket(rng, k, sum.Sec)}
				dated = append(dated, d)
				events += 2
				for _, tier := range metric.Tiers {
					p := at{series, tier, d.Sec.Floor(tier.Width())}
					if want[p] == nil {
						want[p] = bucket.New(k)
					}
					want[p].Merge(d.Bucket)
				}
			}
			r, err := b.Ref(series)
			require.NoError(t, err)
			require.NoError(t, b.AddBuckets(r, dated))
		}
		require.NoError(t, b.Commit())
		b.Publish()
		switch i % 10 {
		case 3:
			require.NoError(t, s.db.Flush())
		case 7:
			require.NoError(t, s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false))
		case 9:
			require.NoError(t, s.Close())
			s = open(t, fs)
		}
	}
	require.Equal(t, events, s.Totals().Events)
	snap := s.Snapshot()
	got := 0
	for _, k := range bucketKinds {
		id := metric.ID{Name: "m", Kind: k}
		require.True(t, s.Known(id))
		sel := s.Select(id, all)
		for _, tier := range metric.Tiers {
			require.NoError(t, snap.ScanBuckets(context.Background(), sel, k, tier, 0, 2_000_001_600, func(i int, sec metric.UnixSec, b bucket.Bucket) error {
				p := at{metric.Series{ID: id, Tags: sel[i].Tags}, tier, sec}
				require.NotNil(t, want[p], "%v", p)
				require.Equal(t, want[p].Append(nil, sec), b.Append(nil, sec), "%v", p)
				got++
				return nil
			}))
		}
	}
	require.Equal(t, len(want), got)
	// A range gives its own buckets only.
	sel := s.Select(metric.ID{Name: "m", Kind: metric.Set}, all)
	from, to := metric.UnixSec(1_700_006_400-30), metric.UnixSec(1_700_006_400+10)
	require.NoError(t, snap.ScanBuckets(context.Background(), sel, metric.Set, metric.Tier1s, from, to, func(_ int, sec metric.UnixSec, _ bucket.Bucket) error {
		require.True(t, sec >= from && sec < to, "%d", sec)
		return nil
	}))
	require.NoError(t, snap.Close())
	require.NoError(t, s.Close())
}

// FuzzBuckets merges any bytes as a chunk of any kind: what the merger accepts, it
// gives back in a form that it accepts again.
func FuzzBuckets(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range bucketKinds {
		run := []byte{chunk.Run(k)}
		for slot := range uint32(3) {
			run = chunk.AppendBucket(run, slot, slot, randomBucket(rng, k, metric.UnixSec(slot)).Append(nil, metric.UnixSec(slot)))
		}
		f.Add(run, run)
	}
	f.Add([]byte{0x12}, []byte{0x13})
	f.Add([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0}, []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		key := appendChunkKey(nil, metric.Tier1s, 0, 1, 1)
		merge := func(first []byte, more ...[]byte) ([]byte, error) {
			m, err := newMerger(nil, nil).Merge(key, first)
			if err != nil {
				return nil, err
			}
			for _, x := range more {
				if err := m.MergeNewer(x); err != nil {
					return nil, err
				}
			}
			out, closer, err := m.Finish(true)
			if err != nil {
				return nil, err
			}
			out = append([]byte(nil), out...)
			return out, closer.Close()
		}
		out, err := merge(a, b)
		if err != nil {
			return
		}
		again, err := merge(out)
		require.NoError(t, err)
		require.Equal(t, out, again)
	})
}

func TestChunkOfAnotherKindIsDamage(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	b := s.NewBatch()
	series := metric.Series{ID: metric.ID{Name: "m", Kind: metric.Gauge}}
	r, err := b.Ref(series)
	require.NoError(t, err)
	require.NoError(t, b.Add(r, []metric.Sum{{Sec: 100, Events: 1, Value: 1}}))
	require.NoError(t, b.Commit())
	b.Publish()
	snap := s.Snapshot()
	require.NoError(t, snap.ScanBuckets(context.Background(), s.Select(series.ID, all), metric.Gauge, metric.Tier1s, 0, 3600, func(int, metric.UnixSec, bucket.Bucket) error { return nil }))
	require.EqualValues(t, 1, s.Damaged())
	require.NoError(t, snap.Close())
	require.NoError(t, s.Close())
}
