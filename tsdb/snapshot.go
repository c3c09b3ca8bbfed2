package tsdb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/bucket"
	"cairn/internal/chunk"
	"cairn/internal/metric"
)

// Snapshot is the store at one instant. It must be closed.
type Snapshot struct {
	snap   *pebble.Snapshot
	policy *metric.Policy // of Retention
	past   []pastPolicy
	ttl    metric.UnixSec
	epochs *epochs // nil: nothing is removed from what it is of
	epoch  uint64
	damage *damage
}

// Snapshot takes one.
func (s *Store) Snapshot() *Snapshot {
	_, now := s.Retention()
	epoch := s.epochs.enter()
	sn := newSnapshot(s.db, &s.policy, s.past, now, s.damage)
	sn.epochs, sn.epoch = &s.epochs, epoch
	return sn
}

// Close gives the snapshot up.
func (sn *Snapshot) Close() error {
	err := sn.snap.Close()
	if sn.epochs != nil {
		sn.epochs.leave(sn.epoch)
	}
	return err
}

// Scan reads the buckets of series in [from, to), in one tier. series is in the
// order in which Store.Select returned it, and all of one metric. yield gets the
// place of the series in it, the first second of a partition, and the slots that
// hold events, ascending, with their sums; the slices are only valid during the
// call. A series comes once a partition in which it has a chunk, and with no
// slots if none of them lies in the range. Of a chunk with damage come the slots that are
// good, and Store.Damaged counts it.
func (sn *Snapshot) Scan(ctx context.Context, series []Selected, t metric.Tier, from, to metric.UnixSec, yield func(i int, start metric.UnixSec, slots []uint32, sums []float64) error) error {
	dec := decoders.Get().(*chunk.Decoder)
	defer decoders.Put(dec)
	sc := sums{t: t, from: from, to: to, yield: yield, dec: dec}
	return sn.scan(ctx, series, t, from, to, sc.chunk)
}

// ScanBuckets is Scan for a metric of kind k, which is no counter: yield gets one
// bucket at a time with its first second. The bucket is only valid during the call.
func (sn *Snapshot) ScanBuckets(ctx context.Context, series []Selected, k metric.Kind, t metric.Tier, from, to metric.UnixSec, yield func(i int, sec metric.UnixSec, b bucket.Bucket) error) error {
	scratch := bucket.New(k)
	dec := decoders.Get().(*chunk.Decoder)
	defer decoders.Put(dec)
	return sn.scan(ctx, series, t, from, to, func(i int, partition uint32, v []byte) error {
		start := t.Start(partition)
		var stop error // of yield
		err := dec.Buckets(v, k, t.Slots(), func(slot uint32, b []byte) error {
			sec := start + metric.UnixSec(int64(slot)*t.Width())
			if sec < from || sec >= to {
				return nil
			}
			if err := scratch.Decode(b, sec); err != nil {
				return err
			}
			stop = yield(i, sec, scratch)
			return stop
		})
		if err == nil || stop != nil {
			return stop
		}
		return damaged{err}
	})
}

// decoders are as many as there are queries at work.
var decoders = sync.Pool{New: func() any { return chunk.NewDecoder() }}

// damaged is why a chunk cannot be read: it is counted, and the scan goes on.
type damaged struct{ error }

// scan calls visit for each chunk that series have in [from, to).
func (sn *Snapshot) scan(ctx context.Context, series []Selected, t metric.Tier, from, to metric.UnixSec, visit func(i int, partition uint32, v []byte) error) error {
	if len(series) == 0 || from >= to {
		return nil
	}
	first, _ := t.Place(from)
	last, _ := t.Place(to - 1)
	iter, err := sn.snap.NewIterWithContext(ctx, &pebble.IterOptions{
		LowerBound: appendChunkKey(nil, t, first, 0, 0),
		UpperBound: appendChunkKey(nil, t, last, math.MaxUint32, math.MaxUint32),
	})
	if err != nil {
		return fmt.Errorf("read chunks: %w", err)
	}
	sc := scanner{iter: iter, damage: sn.damage, t: t, series: series, visit: visit}
	return errors.Join(sc.run(ctx, first, last), iter.Close())
}

type scanner struct {
	iter   *pebble.Iterator
	t      metric.Tier
	series []Selected
	visit  func(i int, partition uint32, v []byte) error
	key    []byte
	damage *damage
}

// run visits the partitions that hold chunks: where the metric has none, the
// iterator says which partition is the next one with any, so that a long range
// over little data costs little.
func (sc *scanner) run(ctx context.Context, partition, last uint32) error {
	for partition <= last {
		if err := ctx.Err(); err != nil {
			return err
		}
		ok, err := sc.partition(partition)
		if err != nil || !ok {
			return err
		}
		next := partitionOfKey(sc.iter.Key())
		if next <= partition {
			if partition == math.MaxUint32 {
				return nil
			}
			next = partition + 1
		}
		partition = next
	}
	return nil
}

// partition goes through both lists, the selected series and the chunks there
// are, each in ascending order. ok is false at the end of the tier's range; else
// the iterator is behind the metric's last selected chunk.
func (sc *scanner) partition(partition uint32) (ok bool, err error) {
	metricNo := sc.series[0].Ref.metric
	seek := func(i int) bool {
		sc.key = appendChunkKey(sc.key[:0], sc.t, partition, metricNo, sc.series[i].Ref.series)
		return sc.iter.SeekGE(sc.key)
	}
	ok = seek(0)
	for i := 0; ok && i < len(sc.series); {
		key := sc.iter.Key()
		if partitionOfKey(key) != partition || metricOfKey(key) != metricNo {
			break
		}
		want, have := sc.series[i].Ref.series, seriesOfKey(key)
		switch {
		case have > want:
			i++
		case have < want:
			ok = seek(i)
		default:
			v, err := sc.iter.ValueAndErr()
			if err == nil {
				sc.damage.check(key, v)
				err = sc.visit(i, partition, v)
				if bad, ok := err.(damaged); ok {
					sc.damage.see(key, bad.error)
					err = nil
				}
			}
			if err != nil {
				return false, fmt.Errorf("chunk %x: %w", key, err)
			}
			i++
			ok = sc.iter.Next()
		}
	}
	return ok, sc.iter.Error()
}

// sums decodes the chunks of counters.
type sums struct {
	t        metric.Tier
	from, to metric.UnixSec
	yield    func(int, metric.UnixSec, []uint32, []float64) error
	dec      *chunk.Decoder
}

func (sc *sums) chunk(i int, partition uint32, v []byte) error {
	start := sc.t.Start(partition)
	lo, hi := uint32(0), sc.t.Slots()
	if start < sc.from {
		lo = uint32(int64(sc.from-start) / sc.t.Width())
	}
	if start+metric.UnixSec(sc.t.Span()) > sc.to {
		hi = uint32(int64(sc.to-start) / sc.t.Width())
	}
	slots, sums, err := sc.dec.SumsIn(v, sc.t.Slots(), lo, hi)
	if err != nil {
		return damaged{err}
	}
	return sc.yield(i, start, slots, sums)
}
