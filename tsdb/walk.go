package tsdb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/bucket"
	"cairn/internal/chunk"
	"cairn/internal/metric"
)

// A walk reads chunks in the order of their keys, and knows nothing of the index in
// memory: it is for those who check what is stored.

// WalkMetrics calls visit for each metric, with its number, ascending.
func (sn *Snapshot) WalkMetrics(ctx context.Context, visit func(no uint32, id metric.ID) error) error {
	return sn.walk(ctx, []byte{prefixMetric}, []byte{prefixMetric + 1}, func(iter *pebble.Iterator) error {
		key, v := iter.Key(), iter.Value()
		if len(key) != 5 || len(v) < 1 || !metric.Kind(v[0]).Valid() {
			return fmt.Errorf("key %x is no metric's", key)
		}
		return visit(binary.BigEndian.Uint32(key[1:]), metric.ID{Kind: metric.Kind(v[0]), Name: string(v[1:])})
	})
}

// NextPartition returns the first partition from p on in which a tier has a chunk;
// false: there is none.
func (sn *Snapshot) NextPartition(t metric.Tier, p uint32) (next uint32, ok bool, err error) {
	iter, err := sn.snap.NewIter(&pebble.IterOptions{LowerBound: appendChunkKey(nil, t, p, 0, 0), UpperBound: []byte{byte(t) + 1}})
	if err != nil {
		return 0, false, fmt.Errorf("read chunks: %w", err)
	}
	if ok = iter.First(); ok {
		next = partitionOfKey(iter.Key())
	}
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return 0, false, fmt.Errorf("read chunks: %w", err)
	}
	return next, ok, nil
}

// PartitionAfter is NextPartition from behind p on. Damage may have named the very last one.
func (sn *Snapshot) PartitionAfter(t metric.Tier, p uint32) (next uint32, ok bool, err error) {
	if p == math.MaxUint32 {
		return 0, false, nil
	}
	return sn.NextPartition(t, p+1)
}

// Chunk is all that one series holds in one partition. It is only valid during the
// call that it is given to.
type Chunk struct {
	Metric    uint32 // its number
	Tier      metric.Tier
	Partition uint32
	key, run  []byte
	dec       *chunk.Decoder
}

// WalkChunks calls visit for each chunk of a partition whose metric's number is in
// [from, to).
func (sn *Snapshot) WalkChunks(ctx context.Context, t metric.Tier, partition, from, to uint32, visit func(*Chunk) error) error {
	c := Chunk{Tier: t, Partition: partition, dec: decoders.Get().(*chunk.Decoder)}
	defer decoders.Put(c.dec)
	return sn.walk(ctx, appendChunkKey(nil, t, partition, from, 0), appendChunkKey(nil, t, partition, to, 0), func(iter *pebble.Iterator) error {
		v, err := iter.ValueAndErr()
		if c.key = iter.Key(); err == nil && len(c.key) != chunkKeyLen {
			err = errors.New("the key is too short")
		}
		if err != nil {
			return fmt.Errorf("chunk %x: %w", c.key, err)
		}
		sn.damage.check(c.key, v)
		c.Metric, c.run = metricOfKey(c.key), v
		return visit(&c)
	})
}

func (sn *Snapshot) walk(ctx context.Context, from, to []byte, visit func(*pebble.Iterator) error) error {
	iter, err := sn.snap.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		if err := visit(iter); err != nil {
			return errors.Join(err, iter.Close())
		}
	}
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	return nil
}

// Sums calls visit for each slot of a counter's chunk, with its first second.
func (c *Chunk) Sums(visit func(sec metric.UnixSec, sum float64)) error {
	slots, sums, err := c.dec.Sums(c.run, c.Tier.Slots())
	if err != nil {
		return fmt.Errorf("chunk %x: %w", c.key, err)
	}
	for i, slot := range slots {
		visit(c.second(slot), sums[i])
	}
	return nil
}

// Len returns how many buckets of the chunk have an event.
func (c *Chunk) Len() (uint32, error) {
	n, err := chunk.Count(c.run)
	if err != nil {
		return 0, fmt.Errorf("chunk %x: %w", c.key, err)
	}
	return n, nil
}

// Bytes returns the length of the chunk's value.
func (c *Chunk) Bytes() int { return len(c.run) }

// Damage returns how many of the chunk's operands are damaged, and isolated in it.
func (c *Chunk) Damage() (uint64, error) {
	d, err := chunk.DamageOf(c.run)
	if err != nil {
		return 0, fmt.Errorf("chunk %x: %w", c.key, err)
	}
	return d.Operands, nil
}

// Buckets calls visit for each slot of the chunk of another kind, decoded into b.
func (c *Chunk) Buckets(b bucket.Bucket, visit func(sec metric.UnixSec)) error {
	err := c.dec.Buckets(c.run, b.Kind(), c.Tier.Slots(), func(slot uint32, data []byte) error {
		if err := b.Decode(data, c.second(slot)); err != nil {
			return err
		}
		visit(c.second(slot))
		return nil
	})
	if err != nil {
		return fmt.Errorf("chunk %x: %w", c.key, err)
	}
	return nil
}

func (c *Chunk) second(slot uint32) metric.UnixSec {
	return c.Tier.Start(c.Partition) + metric.UnixSec(int64(slot)*c.Tier.Width())
}

// AllMetrics is above every metric's number.
const AllMetrics = math.MaxUint32
