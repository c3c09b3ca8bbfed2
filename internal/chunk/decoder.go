package chunk

import (
	"fmt"

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
	b, err := goodOf(b)
	if err != nil || len(b) == 0 {
		return nil, nil, err
	}
	switch b[0] {
	case runs + byte(metric.Counter):
		return decodeRun(b, limit, d.slots[:0], d.sums[:0])
	case columns + byte(metric.Counter):
		return d.columnSums(b, limit)
	}
	return nil, nil, formatError(b, metric.Counter)
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
