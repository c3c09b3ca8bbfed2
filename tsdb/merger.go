package tsdb

import (
	"io"
	"math"
	"sync"
	"sync/atomic"

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
//
// Columns are written only by who works in the background, and once gate lets it; nil:
// at any time.
func newMerger(damage *damage, gate *columnGate) *pebble.Merger {
	return &pebble.Merger{
		Name: mergerName,
		Merge: func(key, value []byte) (pebble.ValueMerger, error) {
			if len(key) > 0 && key[0] == prefixAccount {
				m := &accountMerger{key: append([]byte(nil), key...), damage: damage}
				return m, m.MergeNewer(value)
			}
			m := chunkMergers.Get().(*chunkMerger)
			m.start(key, damage)
			m.gate = gate
			return m, m.MergeNewer(value)
		},
	}
}

// columnGate says when merges may write columns.
type columnGate struct {
	// format is set once the store has a format that knows columns.
	format atomic.Bool
	// working is how many compactions and flushes run. Pebble merges by the same code when
	// it reads, and what is read is decoded at once: columns would be wasted on it. While
	// nothing runs in the background, it is a reader; else it may be one.
	working atomic.Int32
}

func (g *columnGate) open() bool { return g == nil || g.format.Load() && g.working.Load() > 0 }

// chunkMergers are as many as there are compactions and iterators at work.
var chunkMergers = sync.Pool{New: func() any { return &chunkMerger{sum: chunk.NewAccumulator()} }}

// chunkMerger merges the operands of a chunk; and of a key that is no chunk's, which
// has operands by damage only, and keeps them isolated.
type chunkMerger struct {
	sum    *chunk.Accumulator
	key    []byte
	damage *damage
	gate   *columnGate
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
	var out []byte
	if m.gate.open() {
		out = m.sum.Finish(includesBase)
	} else {
		out = m.sum.FinishRun()
	}
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
	m.damage, m.gate = nil, nil
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
