package tsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// Snapshot is the store at one instant. It must be closed.
type Snapshot struct{ snap *pebble.Snapshot }

// Snapshot takes one.
func (s *Store) Snapshot() *Snapshot { return &Snapshot{s.db.NewSnapshot()} }

// Close gives the snapshot up.
func (sn *Snapshot) Close() error { return sn.snap.Close() }

// Scan reads the buckets of series in [from, to), in one tier. series is in the
// order in which Store.Select returned it, and all of one metric. yield gets the
// place of the series in it, the first second of a partition, and the slots that
// hold events, ascending, with their sums; the slices are only valid during the
// call. A series comes once a partition in which it has a chunk, and with no
// slots if none of them lies in the range.
func (sn *Snapshot) Scan(ctx context.Context, series []Selected, t metric.Tier, from, to metric.UnixSec, yield func(i int, start metric.UnixSec, slots []uint32, sums []float64) error) error {
	if len(series) == 0 || from >= to {
		return nil
	}
	first, _ := t.Place(from)
	last, _ := t.Place(to - 1)
	sc := scanner{t: t, from: from, to: to, series: series, yield: yield}
	for p := first; p <= last; p++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := sc.partition(ctx, sn.snap, p); err != nil {
			return err
		}
	}
	return nil
}

type scanner struct {
	t        metric.Tier
	from, to metric.UnixSec
	series   []Selected
	yield    func(int, metric.UnixSec, []uint32, []float64) error
	slots    []uint32
	sums     []float64
}

func (sc *scanner) partition(ctx context.Context, snap *pebble.Snapshot, partition uint32) error {
	metricNo := sc.series[0].Ref.metric
	lower, upper := chunkBounds(sc.t, partition, metricNo)
	iter, err := snap.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read chunks: %w", err)
	}
	err = sc.walk(iter, partition, metricNo)
	return errors.Join(err, iter.Close())
}

// walk goes through both lists, the selected series and the chunks there are,
// each in ascending order.
func (sc *scanner) walk(iter *pebble.Iterator, partition, metricNo uint32) error {
	key := appendChunkKey(nil, sc.t, partition, metricNo, sc.series[0].Ref.series)
	ok := iter.SeekGE(key)
	for i := 0; ok && i < len(sc.series); {
		want, have := sc.series[i].Ref.series, seriesOfKey(iter.Key())
		switch {
		case have > want:
			i++
		case have < want:
			key = appendChunkKey(key[:0], sc.t, partition, metricNo, want)
			ok = iter.SeekGE(key)
		default:
			v, err := iter.ValueAndErr()
			if err == nil {
				err = sc.chunk(i, partition, v)
			}
			if err != nil {
				return fmt.Errorf("chunk %x: %w", iter.Key(), err)
			}
			i++
			ok = iter.Next()
		}
	}
	return iter.Error()
}

func (sc *scanner) chunk(i int, partition uint32, v []byte) error {
	sc.slots, sc.sums = sc.slots[:0], sc.sums[:0]
	err := decodeRun(v, sc.t.Slots(), func(slot uint32, sum float64) {
		sc.slots, sc.sums = append(sc.slots, slot), append(sc.sums, sum)
	})
	if err != nil {
		return err
	}
	start := sc.t.Start(partition)
	lo, hi := 0, len(sc.slots)
	if start < sc.from {
		lo, _ = slices.BinarySearch(sc.slots, uint32(int64(sc.from-start)/sc.t.Width()))
	}
	if start+metric.UnixSec(sc.t.Span()) > sc.to {
		hi, _ = slices.BinarySearch(sc.slots, uint32(int64(sc.to-start)/sc.t.Width()))
	}
	return sc.yield(i, start, sc.slots[lo:hi], sc.sums[lo:hi])
}
