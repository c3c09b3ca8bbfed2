package tsdb

import (
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// mergerName is stored by Pebble, which refuses to open a store under another.
const mergerName = "cairn.chunk"

// merger adds the operands of a chunk. Addition is commutative, so it does not
// matter which operand is newer, nor in how many steps compactions merge them.
var merger = &pebble.Merger{
	Name: mergerName,
	Merge: func(key, value []byte) (pebble.ValueMerger, error) {
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

// accumulator adds runs slot by slot. It is pooled: 30 KiB each, as many as there
// are compactions and iterators at work.
type accumulator struct {
	limit uint32
	used  [(maxSlots + 63) / 64]uint64
	sums  [maxSlots]float64
	out   []byte
	key   [chunkKeyLen]byte
}

func (m *accumulator) start(key []byte) error {
	if len(key) != chunkKeyLen || key[0] < byte(metric.Tier1s) || key[0] > byte(metric.Tier1h) {
		return fmt.Errorf("merge of key %x, which is no chunk's", key)
	}
	copy(m.key[:], key)
	m.limit = metric.Tier(key[0]).Slots()
	clear(m.used[:])
	return nil
}

func (m *accumulator) add(slot uint32, v float64) {
	w, bit := slot/64, uint64(1)<<(slot%64)
	if m.used[w]&bit == 0 {
		m.used[w] |= bit
		m.sums[slot] = v
		return
	}
	m.sums[slot] += v
}

// MergeNewer implements pebble.ValueMerger.
func (m *accumulator) MergeNewer(value []byte) error {
	if err := decodeRun(value, m.limit, m.add); err != nil {
		return fmt.Errorf("chunk %x: %w", m.key, err)
	}
	return nil
}

// MergeOlder implements pebble.ValueMerger.
func (m *accumulator) MergeOlder(value []byte) error { return m.MergeNewer(value) }

// Finish implements pebble.ValueMerger. The result is valid until the closer is
// called.
func (m *accumulator) Finish(bool) ([]byte, io.Closer, error) {
	m.out = append(m.out[:0], formatRun)
	prev := uint32(0)
	for w, set := range m.used {
		for ; set != 0; set &= set - 1 {
			slot := uint32(w*64 + bits.TrailingZeros64(set))
			m.out = appendRunSlot(m.out, prev, slot, m.sums[slot])
			prev = slot + 1
		}
	}
	return m.out, m, nil
}

// Close implements io.Closer: it returns the accumulator to the pool.
func (m *accumulator) Close() error {
	accumulators.Put(m)
	return nil
}
