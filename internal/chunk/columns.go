package chunk

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Behind the frame, the columns of gauges:
//
//	integers  n: second of the last reading, from the slot's first on
//	integers  n: how many ms after that second's begin it came
//	numbers   n: last
//	numbers   n: count
//	then, of the m slots with more readings than one:
//	numbers   m: sum
//	numbers   m: min
//	numbers   m: max
//
// and of distributions and sets:
//
//	integers  n: lengths of the buckets, in bytes
//	byte      0: the buckets follow; 1: uvarint length of a zstd frame of them
const (
	blockRaw  = 0
	blockZstd = 1
)

// maxBlock bounds the buckets of columns: what has more stays a run.
const maxBlock = 16 << 20

// appendBuckets appends the columns of slots, whose buckets are at(i); false: it cannot.
func (e *encoder) appendBuckets(dst []byte, k metric.Kind, slots []uint32, at func(i int) []byte) ([]byte, bool) {
	dst = e.appendPresence(dst, k, slots)
	if k == metric.Gauge {
		return e.appendGauges(dst, slots, at)
	}
	all, lengths := e.other[:0], e.ints[:len(slots)]
	for i := range slots {
		b := at(i)
		if lengths[i] = int64(len(b)); len(all)+len(b) > maxBlock {
			return dst, false
		}
		all = append(all, b...)
	}
	e.other = all
	dst = e.appendInts(dst, lengths)
	if e.zstd == nil {
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithWindowSize(256<<10), zstd.WithEncoderCRC(false))
		if err != nil {
			panic(fmt.Sprintf("BUG: zstd refuses its options: %s", err))
		}
		e.zstd = z
	}
	begin := len(dst)
	dst = append(dst, blockZstd)
	dst = e.zstd.EncodeAll(all, dst)
	if len(dst)-begin > len(all) {
		return append(append(dst[:begin], blockRaw), all...), true
	}
	return dst, true
}

// appendGauges appends the columns of gauges; false: there is a bucket that is none.
func (e *encoder) appendGauges(dst []byte, slots []uint32, at func(i int) []byte) ([]byte, bool) {
	n := len(slots)
	gauges := make([]bucket.Gauge, n)
	for i := range gauges {
		if g := &gauges[i]; g.Decode(at(i), 0) != nil || g.Count == 0 {
			return dst, false
		}
		e.ints[i] = int64(gauges[i].At.Sec)
	}
	dst = e.appendInts(dst, e.ints[:n])
	for i := range gauges {
		e.ints[i] = int64(gauges[i].At.Late)
	}
	dst = e.appendInts(dst, e.ints[:n])
	column := func(of func(*bucket.Gauge) float64, several bool) {
		nums := e.nums[:0]
		for i := range gauges {
			if g := &gauges[i]; !several || g.Count > 1 {
				nums = append(nums, of(g)+0)
			}
		}
		dst = e.appendNumbers(dst, nums)
	}
	column(func(g *bucket.Gauge) float64 { return g.Last }, false)
	column(func(g *bucket.Gauge) float64 { return g.Count }, false)
	column(func(g *bucket.Gauge) float64 { return g.Sum }, true)
	column(func(g *bucket.Gauge) float64 { return g.Min }, true)
	column(func(g *bucket.Gauge) float64 { return g.Max }, true)
	return dst, true
}

// columnBuckets decodes the columns of a kind that is no counter.
func (d *Decoder) columnBuckets(b []byte, k metric.Kind, limit uint32, visit func(slot uint32, bucket []byte) error) error {
	r := reader{src: b}
	f := r.frame(limit)
	if f.presence == holes {
		r.fail(1, "an unknown presence")
	}
	slots := d.slotsOf(&r, f, limit)
	if k == metric.Gauge {
		return d.gauges(&r, slots, visit)
	}
	begin := r.at
	if d.lengths == nil {
		d.lengths = new([MaxSlots]int64)
	}
	lengths, sum := d.ints(&r, len(slots), d.lengths[:]), int64(0)
	for _, n := range lengths {
		if sum += n; n < 0 || n > maxBlock || sum > maxBlock {
			r.fail(begin, "buckets that are too long")
			break
		}
	}
	all := d.block(&r, int(sum))
	if err := r.end(); err != nil {
		return err
	}
	for i, slot := range slots {
		if err := visit(slot, all[:lengths[i]:lengths[i]]); err != nil {
			return fmt.Errorf("chunk value of %d bytes: bucket of slot %d: %w", len(b), slot, err)
		}
		all = all[lengths[i]:]
	}
	return nil
}

// block decodes the last column, of n bytes.
func (d *Decoder) block(r *reader, n int) []byte {
	begin := r.at
	form := r.byte()
	if r.err != nil {
		return nil
	}
	src := r.bytes(r.left())
	switch form {
	case blockRaw:
		if len(src) != n {
			r.fail(begin, "buckets of another length than the chunk says")
		}
		return src
	case blockZstd:
		var head zstd.Header
		if head.Decode(src) != nil || head.Skippable || head.HasFCS && head.FrameContentSize != uint64(n) {
			r.fail(begin, "a block that does not decode")
			return nil
		}
		if d.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxMemory(maxBlock), zstd.WithDecodeAllCapLimit(true))
			if err != nil {
				panic(fmt.Sprintf("BUG: zstd refuses its options: %s", err))
			}
			d.zstd = z
		}
		if cap(d.block1) < n {
			d.block1 = make([]byte, 0, n)
		}
		out, err := d.zstd.DecodeAll(src, d.block1[:0:n])
		if err != nil || len(out) != n {
			r.fail(begin, "a block that does not decode")
			return nil
		}
		return out
	}
	r.fail(begin, "an unknown form of a block")
	return nil
}

// gauges decodes the columns of gauges.
func (d *Decoder) gauges(r *reader, slots []uint32, visit func(slot uint32, bucket []byte) error) error {
	n := len(slots)
	g := d.gauge
	if g == nil {
		g = new(gaugeColumns)
		d.gauge = g
	}
	seconds := d.ints(r, n, g.seconds[:])
	begin := r.at
	late := d.ints(r, n, g.late[:])
	last := d.numbers(r, n, g.last[:])
	count := d.numbers(r, n, g.count[:])
	m := 0
	for i, c := range count {
		if c > 1 {
			m++
		}
		if c < 1 || seconds[i] < 0 || seconds[i] > int64(metric.MaxSec) || late[i] < 0 || late[i] > 1<<32-1 {
			r.fail(begin, "gauges that no readings make")
			break
		}
	}
	sum := d.numbers(r, m, g.sum[:])
	lo := d.numbers(r, m, g.min[:])
	hi := d.numbers(r, m, g.max[:])
	if err := r.end(); err != nil {
		return err
	}
	m = 0
	for i, slot := range slots {
		one := bucket.Gauge{Count: count[i], Last: last[i], At: bucket.At{Sec: metric.UnixSec(seconds[i]), Late: uint32(late[i])}}
		if count[i] > 1 {
			one.Sum, one.Min, one.Max = sum[m], lo[m], hi[m]
			m++
		}
		g.bytes = one.Append(g.bytes[:0], 0)
		if err := visit(slot, g.bytes); err != nil {
			return fmt.Errorf("chunk value of %d bytes: bucket of slot %d: %w", len(r.src), slot, err)
		}
	}
	return nil
}

// gaugeColumns is where gauges are decoded.
type gaugeColumns struct {
	seconds, late              [MaxSlots]int64
	last, count, sum, min, max [MaxSlots]float64
	bytes                      []byte
}

// Count returns how many slots of a chunk hold an event, by its head if it has columns.
func Count(b []byte) (uint32, error) {
	if len(b) == 0 {
		return 0, fmt.Errorf("empty chunk value at offset 0")
	}
	if b[0] == isolated {
		d, err := readDamage(b)
		if err != nil || len(d.Good) == 0 {
			return 0, err
		}
		return Count(d.Good)
	}
	k, ok := KindOf(b)
	if !ok {
		return 0, fmt.Errorf("chunk value at offset 0 has the unknown format 0x%02x", b[0])
	}
	if b[0]&0xf0 == columns {
		r := reader{src: b}
		f := r.frame(MaxSlots)
		return uint32(f.n), r.err
	}
	n := uint32(0)
	if k == metric.Counter {
		return countRun(b)
	}
	err := walkBuckets(b, MaxSlots, func(uint32, []byte) error { n++; return nil })
	return n, err
}

func countRun(b []byte) (n uint32, err error) {
	for at := 1; at < len(b); n++ {
		gap, w := binary.Uvarint(b[at:])
		if w <= 0 {
			return n, fmt.Errorf("chunk value of %d bytes: bad slot at offset %d", len(b), at)
		}
		at += w
		if w = 8; gap&1 == 0 {
			_, w = binary.Varint(b[at:])
		}
		if at += w; w <= 0 || at > len(b) {
			return n, fmt.Errorf("chunk value of %d bytes: cut short at offset %d", len(b), at)
		}
	}
	return n, nil
}
