package tsdb

import (
	"encoding/binary"
	"fmt"
	"math"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// A run is the value of a chunk, and of each operand that is merged into one:
//
//	byte 0   format: 0x11, a run of counter sums
//	then, for each slot that holds an event, in ascending order:
//	uvarint  gap << 1 | f    gap: slots skipped since the last one (or the start)
//	f = 0    varint          the sum, a whole number within ±2^53, zigzag
//	f = 1    8 bytes         the sum, float64, little endian
//
// A slot without an event is absent; one whose events add up to 0 is there.
const formatRun = 0x11

// maxWhole is the largest whole number up to which every one is a float64.
const maxWhole = 1 << 53

// appendRunSlot appends one slot to a run. prev is the last slot + 1, 0 at first.
func appendRunSlot(dst []byte, prev, slot uint32, v float64) []byte {
	gap := uint64(slot-prev) << 1
	if v == math.Trunc(v) && math.Abs(v) <= maxWhole {
		dst = binary.AppendUvarint(dst, gap)
		return binary.AppendVarint(dst, int64(v))
	}
	dst = binary.AppendUvarint(dst, gap|1)
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

// A chunk of any other kind is a run of buckets; so is each of its operands:
//
//	byte 0   format: 0x10 + kind: 0x12 gauge, 0x13 distribution, 0x14 set
//	then, for each slot that holds an event, in ascending order:
//	uvarint  slots skipped since the last one (or the start)
//	uvarint  length of the bucket
//	bytes    the bucket, as internal/bucket draws it
//
// The length lets a reader skip a bucket, and a merge copy it, without reading it.
func formatOf(k metric.Kind) byte { return 0x10 + byte(k) }

// appendBucketSlot appends one slot to a run of buckets.
func appendBucketSlot(dst []byte, prev, slot uint32, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(slot-prev))
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// walkBuckets calls visit for each slot of a run of buckets of kind k. Slots are
// below limit.
func walkBuckets(b []byte, k metric.Kind, limit uint32, visit func(slot uint32, bucket []byte) error) error {
	if len(b) == 0 || b[0] != formatOf(k) {
		return fmt.Errorf("chunk value %.4x at offset 0 is not of format 0x%02x, which a %s has", b, formatOf(k), k)
	}
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

// decodeRun calls add for each slot of a run. Slots are below limit. An error
// names the offset at which the bytes stop making sense.
func decodeRun(b []byte, limit uint32, add func(slot uint32, v float64)) error {
	if len(b) == 0 {
		return fmt.Errorf("empty chunk value; expected format byte 0x%02x", formatRun)
	}
	if b[0] != formatRun {
		return fmt.Errorf("chunk value at offset 0 has format 0x%02x; this version reads 0x%02x", b[0], formatRun)
	}
	var next uint64
	for at := 1; at < len(b); {
		gap, n := binary.Uvarint(b[at:])
		if n <= 0 || gap>>1 >= uint64(limit)-next {
			return fmt.Errorf("chunk value of %d bytes: bad slot at offset %d", len(b), at)
		}
		at += n
		slot := uint32(next + gap>>1)
		next = uint64(slot) + 1
		var v float64
		if gap&1 == 0 {
			i, n := binary.Varint(b[at:])
			if n <= 0 || i > maxWhole || i < -maxWhole {
				return fmt.Errorf("chunk value of %d bytes: bad number at offset %d", len(b), at)
			}
			at += n
			v = float64(i)
		} else {
			if len(b)-at < 8 {
				return fmt.Errorf("chunk value of %d bytes: cut short at offset %d", len(b), at)
			}
			v = math.Float64frombits(binary.LittleEndian.Uint64(b[at:]))
			if v-v != 0 {
				return fmt.Errorf("chunk value of %d bytes: a sum that is not finite at offset %d", len(b), at)
			}
			at += 8
		}
		add(slot, v)
	}
	return nil
}

// bucketFolder turns buckets, ascending in time, into runs. It is scratch space.
type bucketFolder struct {
	run, one []byte
	merged   bucket.Bucket // where several seconds share a slot
}

// fold calls emit with one run for each partition of a tier that dated touches.
// The run is only valid during the call.
func (f *bucketFolder) fold(t metric.Tier, dated []bucket.Dated, emit func(partition uint32, run []byte) error) error {
	k := dated[0].Bucket.Kind()
	for i := 0; i < len(dated); {
		partition, slot := t.Place(dated[i].Sec)
		run, prev := append(f.run[:0], formatOf(k)), uint32(0)
		for at := partition; i < len(dated) && at == partition; {
			begin, first := slot, i
			for at == partition && slot == begin {
				if i++; i == len(dated) {
					break
				}
				at, slot = t.Place(dated[i].Sec)
			}
			base := t.Start(partition) + metric.UnixSec(int64(begin)*t.Width())
			f.one = f.whole(dated[first:i]).Append(f.one[:0], base)
			run = appendBucketSlot(run, prev, begin, f.one)
			prev = begin + 1
		}
		f.run = run
		if err := emit(partition, run); err != nil {
			return err
		}
	}
	return nil
}

func (f *bucketFolder) whole(dated []bucket.Dated) bucket.Bucket {
	if len(dated) == 1 {
		return dated[0].Bucket
	}
	if k := dated[0].Bucket.Kind(); f.merged == nil || f.merged.Kind() != k {
		f.merged = bucket.New(k)
	}
	f.merged.Reset()
	for i := range dated {
		f.merged.Merge(dated[i].Bucket)
	}
	return f.merged
}

// foldRuns turns sums, ascending in time, into one run for each partition of a
// tier that they touch. The run is only valid during the call of emit.
func foldRuns(t metric.Tier, sums []metric.Sum, scratch []byte, emit func(partition uint32, run []byte) error) ([]byte, error) {
	width := metric.UnixSec(t.Width())
	for i := 0; i < len(sums); {
		partition, slot := t.Place(sums[i].Sec)
		start := t.Start(partition)
		end := start + metric.UnixSec(t.Span())
		run, prev := append(scratch[:0], formatRun), uint32(0)
		for {
			slotEnd := start + metric.UnixSec(slot+1)*width
			v := sums[i].Value
			for i++; i < len(sums) && sums[i].Sec < slotEnd; i++ {
				v += sums[i].Value
			}
			run = appendRunSlot(run, prev, slot, v)
			prev = slot + 1
			if i == len(sums) || sums[i].Sec >= end {
				break
			}
			slot = uint32(sums[i].Sec-start) / uint32(width)
		}
		scratch = run
		if err := emit(partition, run); err != nil {
			return scratch, err
		}
	}
	return scratch, nil
}
