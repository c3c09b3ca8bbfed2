package tsdb

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// mergerName is stored by Pebble, which refuses to open a store under another.
const mergerName = "cairn.chunk"

// merger adds the operands of a chunk. Addition is commutative, so it does not
// matter which operand is newer, nor in how many steps compactions merge them.
var merger = &pebble.Merger{
	Name: mergerName,
	Merge: func(key, value []byte) (pebble.ValueMerger, error) {
		if len(key) > 0 && key[0] == prefixAccount {
			return mergeAccount(key, value)
		}
		m := accumulators.Get().(*accumulator)
		if err := m.start(key); err != nil {
			m.Close()
			return nil, err
		}
		if err := m.MergeNewer(value); err != nil {
			m.Close()
			return nil, err
		}
		return m, nil
	},
}

var accumulators = sync.Pool{New: func() any { return new(accumulator) }}

// maxSlots is the number of slots of the tier that has the most of them.
const maxSlots = 3600

// accumulator adds runs slot by slot: sums of counters as numbers, buckets of
// other kinds as bytes, which are only read where two meet in a slot. It is
// pooled: 60 KiB each, and the buckets, as many as there are compactions and
// iterators at work.
type accumulator struct {
	kind  metric.Kind // 0 before the first operand
	limit uint32
	used  [(maxSlots + 63) / 64]uint64
	sums  [maxSlots]float64
	spans [maxSlots]span // of buckets, in bytes
	bytes []byte
	pair  [metric.Set + 1][2]bucket.Bucket // scratch, by kind
	out   []byte
	key   [chunkKeyLen]byte
}

type span struct{ at, end uint32 }

func (m *accumulator) start(key []byte) error {
	if len(key) != chunkKeyLen || key[0] < byte(metric.Tier1s) || key[0] > byte(metric.Tier1h) {
		return fmt.Errorf("merge of key %x, which is no chunk's", key)
	}
	copy(m.key[:], key)
	m.kind = 0
	m.limit = metric.Tier(key[0]).Slots()
	m.bytes = m.bytes[:0]
	clear(m.used[:])
	return nil
}

// use marks a slot and reports whether it was free.
func (m *accumulator) use(slot uint32) bool {
	w, bit := slot/64, uint64(1)<<(slot%64)
	free := m.used[w]&bit == 0
	m.used[w] |= bit
	return free
}

func (m *accumulator) add(slot uint32, v float64) {
	if m.use(slot) {
		m.sums[slot] = v
		return
	}
	m.sums[slot] += v
}

func (m *accumulator) addBucket(slot uint32, b []byte) error {
	if len(m.bytes)+len(b) > math.MaxUint32 {
		return fmt.Errorf("the buckets of one chunk take more than 4 GiB")
	}
	at := uint32(len(m.bytes))
	if m.use(slot) {
		m.bytes = append(m.bytes, b...)
	} else {
		sp := m.spans[slot]
		pair := &m.pair[m.kind]
		if pair[0] == nil {
			pair[0], pair[1] = bucket.New(m.kind), bucket.New(m.kind)
		}
		base := m.base(slot)
		if err := pair[0].Decode(m.bytes[sp.at:sp.end], base); err != nil {
			return err
		}
		if err := pair[1].Decode(b, base); err != nil {
			return err
		}
		pair[0].Merge(pair[1])
		m.bytes = pair[0].Append(m.bytes, base)
	}
	m.spans[slot] = span{at, uint32(len(m.bytes))}
	return nil
}

// base returns the first second of a slot.
func (m *accumulator) base(slot uint32) metric.UnixSec {
	t := metric.Tier(m.key[0])
	return t.Start(partitionOfKey(m.key[:])) + metric.UnixSec(int64(slot)*t.Width())
}

// MergeNewer implements pebble.ValueMerger.
func (m *accumulator) MergeNewer(value []byte) error {
	if m.kind == 0 && len(value) > 0 {
		m.kind = metric.Kind(value[0] - formatOf(0))
	}
	var err error
	switch m.kind {
	case metric.Gauge, metric.Distribution, metric.Set:
		err = walkBuckets(value, m.kind, m.limit, m.addBucket)
	default:
		err = decodeRun(value, m.limit, m.add)
	}
	if err != nil {
		return fmt.Errorf("chunk %x: %w", m.key, err)
	}
	return nil
}

// MergeOlder implements pebble.ValueMerger.
func (m *accumulator) MergeOlder(value []byte) error { return m.MergeNewer(value) }

// Finish implements pebble.ValueMerger. The result is valid until the closer is
// called.
func (m *accumulator) Finish(bool) ([]byte, io.Closer, error) {
	m.out = append(m.out[:0], formatOf(m.kind))
	prev := uint32(0)
	for w, set := range m.used {
		for ; set != 0; set &= set - 1 {
			slot := uint32(w*64 + bits.TrailingZeros64(set))
			if m.kind == metric.Counter {
				m.out = appendRunSlot(m.out, prev, slot, m.sums[slot])
			} else {
				sp := m.spans[slot]
				m.out = appendBucketSlot(m.out, prev, slot, m.bytes[sp.at:sp.end])
			}
			prev = slot + 1
		}
	}
	return m.out, m, nil
}

// maxPooledBytes bounds what a pooled accumulator keeps: chunks of busy
// distributions are the largest, and few.
const maxPooledBytes = 8 << 20

// Close implements io.Closer: it returns the accumulator to the pool.
func (m *accumulator) Close() error {
	if cap(m.bytes)+cap(m.out) <= maxPooledBytes {
		accumulators.Put(m)
	}
	return nil
}
