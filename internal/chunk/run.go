package chunk

import (
	"encoding/binary"
	"fmt"
	"math"

	"cairn/internal/metric"
)

// MaxSlots is the number of slots of the tier that has the most of them.
const MaxSlots = 3600

// maxWhole is the largest whole number up to which every one is a float64.
const maxWhole = 1 << 53

// FormatDamaged is the first byte of a chunk that holds damage.
const FormatDamaged = 0x0f

// A run is, after its format byte, for each slot that holds an event, in ascending order:
//
//	counters:
//	uvarint  gap << 1 | f    gap: slots skipped since the last one (or the start)
//	f = 0    varint          the sum, a whole number within ±2^53, zigzag
//	f = 1    8 bytes         the sum, float64, little endian
//
//	all other kinds:
//	uvarint  slots skipped since the last one (or the start)
//	uvarint  length of the bucket
//	bytes    the bucket, as internal/bucket draws it
//
// A slot without an event is absent; one whose events add up to 0 is there.
const (
	runs     = 0x10 // + kind
	columns  = 0x20 // + kind
	isolated = FormatDamaged
)

// Run returns the first byte of a run of a kind.
func Run(k metric.Kind) byte { return runs + byte(k) }

// KindOf returns the kind of an operand or a chunk by its first byte; false: it is of none, or
// holds damage.
func KindOf(b []byte) (metric.Kind, bool) {
	if len(b) == 0 {
		return 0, false
	}
	k := metric.Kind(b[0] & 0x0f)
	return k, (b[0]&0xf0 == runs || b[0]&0xf0 == columns) && k.Valid()
}

// AppendSum appends one slot to a run of counters. prev is the last slot + 1, 0 at first.
func AppendSum(dst []byte, prev, slot uint32, v float64) []byte {
	gap := uint64(slot-prev) << 1
	if v == math.Trunc(v) && math.Abs(v) <= maxWhole {
		dst = binary.AppendUvarint(dst, gap)
		return binary.AppendVarint(dst, int64(v))
	}
	dst = binary.AppendUvarint(dst, gap|1)
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

// AppendBucket appends one slot to a run of another kind.
func AppendBucket(dst []byte, prev, slot uint32, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(slot-prev))
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func formatError(b []byte, k metric.Kind) error {
	return fmt.Errorf("chunk value %.4x at offset 0 is not of format 0x%02x or 0x%02x, which a %s has", b, runs+byte(k), columns+byte(k), k)
}

func walkBuckets(b []byte, limit uint32, visit func(slot uint32, bucket []byte) error) error {
	var next uint64
	for at := 1; at < len(b); {
		gap, n := binary.Uvarint(b[at:])
		if n <= 0 || gap >= uint64(limit)-next {
			return fmt.Errorf("chunk value of %d bytes: bad slot at offset %d", len(b), at)
		}
		at += n
		size, n := binary.Uvarint(b[at:])
		if n <= 0 || size > uint64(len(b)-at-n) {
			return fmt.Errorf("chunk value of %d bytes: bad length at offset %d", len(b), at)
		}
		at += n
		slot := uint32(next + gap)
		if err := visit(slot, b[at:at+int(size)]); err != nil {
			return fmt.Errorf("chunk value of %d bytes: bucket at offset %d: %w", len(b), at, err)
		}
		at += int(size)
		next = uint64(slot) + 1
	}
	return nil
}

// decodeRun appends the slots of a run of counters.
func decodeRun(b []byte, limit uint32, slots []uint32, sums []float64) ([]uint32, []float64, error) {
	var next uint64
	for at := 1; at < len(b); {
		gap, n := uint64(b[at]), 1
		if gap >= 0x80 {
			gap, n = binary.Uvarint(b[at:])
		}
		if n <= 0 || gap>>1 >= uint64(limit)-next {
			return slots, sums, fmt.Errorf("chunk value of %d bytes: bad slot at offset %d", len(b), at)
		}
		at += n
		slot := uint32(next + gap>>1)
		next = uint64(slot) + 1
		var v float64
		if gap&1 == 0 {
			i, n := binary.Varint(b[at:])
			if n <= 0 || i > maxWhole || i < -maxWhole {
				return slots, sums, fmt.Errorf("chunk value of %d bytes: bad number at offset %d", len(b), at)
			}
			at += n
			v = float64(i)
		} else {
			if len(b)-at < 8 {
				return slots, sums, fmt.Errorf("chunk value of %d bytes: cut short at offset %d", len(b), at)
			}
			v = math.Float64frombits(binary.LittleEndian.Uint64(b[at:]))
			if v-v != 0 {
				return slots, sums, fmt.Errorf("chunk value of %d bytes: a sum that is not finite at offset %d", len(b), at)
			}
			at += 8
		}
		slots, sums = append(slots, slot), append(sums, v)
	}
	return slots, sums, nil
}
