package tsdb

import (
	"io"
	"math"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/chunk"
	"cairn/internal/metric"
)

// mergerName is stored by Pebble, which refuses to open a store under another.
const mergerName = "cairn.chunk"

// newMerger returns what adds the operands of a key. Addition is commutative, so it does
// not matter which operand is newer, nor in how many steps compactions merge them.
// It never fails: an error would make the same compaction fail for ever. What
// does not decode is isolated or left out, and seen by damage.
func newMerger(damage *damage) *pebble.Merger {
	return &pebble.Merger{
		Name: mergerName,
		Merge: func(key, value []byte) (pebble.ValueMerger, error) {
			if len(key) > 0 && key[0] == prefixAccount {
				m := &accountMerger{key: append([]byte(nil), key...), damage: damage}
				return m, m.MergeNewer(value)
			}
			m := chunkMergers.Get().(*chunkMerger)
			m.start(key, damage)
			return m, m.MergeNewer(value)
		},
	}
}

// chunkMergers are as many as there are compactions and iterators at work.
var chunkMergers = sync.Pool{New: func() any { return &chunkMerger{sum: chunk.NewAccumulator()} }}

// chunkMerger merges the operands of a chunk; and of a key that is no chunk's, which
// has operands by damage only, and keeps them isolated.
type chunkMerger struct {
	sum    *chunk.Accumulator
	key    []byte
	damage *damage
}

func (m *chunkMerger) start(key []byte, damage *damage) {
	m.key, m.damage = append(m.key[:0], key...), damage
	if !isChunkKey(key) {
		m.sum.Start(0, nil)
		return
	}
	t := metric.Tier(key[0])
	start := t.Start(partitionOfKey(key))
	m.sum.Start(t.Slots(), func(slot uint32) metric.UnixSec { return start + metric.UnixSec(int64(slot)*t.Width()) })
}

func isChunkKey(key []byte) bool {
	return len(key) == chunkKeyLen && key[0] >= byte(metric.Tier1s) && key[0] <= byte(metric.Tier1h)
}

// MergeNewer implements pebble.ValueMerger.
func (m *chunkMerger) MergeNewer(value []byte) error {
	m.sum.Add(value)
	return nil
}

// MergeOlder implements pebble.ValueMerger.
func (m *chunkMerger) MergeOlder(value []byte) error { return m.MergeNewer(value) }

// Finish implements pebble.ValueMerger. The result is valid until the closer is
// called.
func (m *chunkMerger) Finish(includesBase bool) ([]byte, io.Closer, error) {
	out := m.sum.Finish(includesBase)
	if err := m.sum.Damaged(); err != nil {
		m.damage.see(m.key, err)
	}
	return out, m, nil
}

// maxPooledBytes bounds what a pooled merger keeps: chunks of busy distributions are
// the largest, and few.
const maxPooledBytes = 8 << 20

// Close implements io.Closer: it returns the merger to the pool.
func (m *chunkMerger) Close() error {
	m.damage = nil
	if m.sum.Size() <= maxPooledBytes {
		chunkMergers.Put(m)
	}
	return nil
}

// accountMerger adds accounts: uvarint events, and 8 bytes of units, a float64, little
// endian. One that does not decode is left out.
type accountMerger struct {
	key    []byte
	sum    account
	damage *damage
}

// MergeNewer implements pebble.ValueMerger.
func (m *accountMerger) MergeNewer(value []byte) error {
	v, err := decodeAccount(value)
	if err != nil {
		m.damage.see(m.key, err)
		return nil
	}
	if m.sum.events += v.events; m.sum.events < v.events {
		m.sum.events = math.MaxUint64
	}
	m.sum.units = min(max(m.sum.units+v.units, -math.MaxFloat64), math.MaxFloat64)
	return nil
}

// MergeOlder implements pebble.ValueMerger.
func (m *accountMerger) MergeOlder(value []byte) error { return m.MergeNewer(value) }

// Finish implements pebble.ValueMerger.
func (m *accountMerger) Finish(bool) ([]byte, io.Closer, error) {
	return appendAccount(nil, m.sum), nil, nil
}
