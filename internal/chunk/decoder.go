package chunk

import (
	"fmt"
	"slices"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/zstd"

	"cairn/internal/metric"
)

// Decoder reads chunks. It is 130 KiB of scratch space that is used again, and more for other kinds than
// counters; it is not safe for concurrent use.
type Decoder struct {
	huff    huff0.Scratch
	coder   *huff0.Decoder
	all     [MaxSlots]uint32 // slot i is i; never changed
	slots   [MaxSlots]uint32
	sums    [MaxSlots]float64
	offsets [MaxSlots]int64
	bits    [MaxSlots]uint64
	planes  [MaxSlots]byte
	high    [MaxSlots]byte
	low     []byte
	lengths *[MaxSlots]int64
	gauge   *gaugeColumns
	zstd    *zstd.Decoder
	block1  []byte
}

// NewDecoder returns one.
func NewDecoder() *Decoder {
	d := &Decoder{}
	for i := range d.all {
		d.all[i] = uint32(i)
	}
	return d
}

// Sums returns the slots of a counter's chunk that hold events, ascending and below limit,
// with their sums. They may only be read, and until the next call. An error names
// the offset at which the bytes stop making sense. Of a chunk with damage it is the good part.
func (d *Decoder) Sums(b []byte, limit uint32) ([]uint32, []float64, error) {
	return d.SumsIn(b, limit, 0, limit)
}

// SumsIn is Sums of the slots in [lo, hi) only: what entropy coding gives is put together for
// no others. It may not tell of every mistake in what is left out.
func (d *Decoder) SumsIn(b []byte, limit, lo, hi uint32) ([]uint32, []float64, error) {
	b, err := goodOf(b)
	if err != nil || len(b) == 0 {
		return nil, nil, err
	}
	switch b[0] {
	case runs + byte(metric.Counter):
		slots, sums, err := decodeRun(b, limit, d.slots[:0], d.sums[:0])
		from, to := within(slots, lo, hi)
		return slots[from:to], sums[from:to], err
	case columns + byte(metric.Counter):
		return d.columnSums(b, limit, lo, hi)
	}
	return nil, nil, formatError(b, metric.Counter)
}

// within returns the places of the slots in [lo, hi).
func within(slots []uint32, lo, hi uint32) (from, to int) {
	from, _ = slices.BinarySearch(slots, lo)
	to, _ = slices.BinarySearch(slots, hi)
	return from, max(from, to)
}

// Buckets calls visit for each slot of a chunk of kind k that holds events, ascending, with its bucket,
// which is only valid during the call. It is Sums for the kinds that are no counter.
func (d *Decoder) Buckets(b []byte, k metric.Kind, limit uint32, visit func(slot uint32, bucket []byte) error) error {
	b, err := goodOf(b)
	if err != nil || len(b) == 0 {
		return err
	}
	switch b[0] {
	case runs + byte(k):
		return walkBuckets(b, limit, visit)
	case columns + byte(k):
		return d.columnBuckets(b, k, limit, visit)
	}
	return formatError(b, k)
}

// goodOf returns the chunk, or that of it which is not damaged.
func goodOf(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("empty chunk value at offset 0")
	}
	if b[0] != isolated {
		return b, nil
	}
	d, err := readDamage(b)
	return d.Good, err
}
