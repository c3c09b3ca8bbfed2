package bucket

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"cairn/internal/metric"
)

// Gauge is what is known of the readings of one bucket. Its bytes are, if there
// was a reading:
//
//	uvarint    (second - base) << 1 | m     of the last reading; m: there are more
//	uvarint    late                         of the last reading, in ms
//	number     last
//	m = 1:
//	number     count, at least 2
//	number     sum
//	number     min
//	number     max
type Gauge struct {
	Count, Sum, Min, Max, Last float64
	At                         At // of Last
}

// At orders readings, so that the last one is the same wherever they meet.
type At struct {
	Sec  metric.UnixSec // the second that the reading is for
	Late uint32         // how many ms after the begin of Sec it arrived, 0 if before
}

func (a At) before(b At) bool { return a.Sec < b.Sec || a.Sec == b.Sec && a.Late < b.Late }

// Kind returns metric.Gauge.
func (g *Gauge) Kind() metric.Kind { return metric.Gauge }

// Observe adds a reading for sec that arrived at arrived. Of two readings with
// the same place in time the later call is the last.
func (g *Gauge) Observe(v float64, sec metric.UnixSec, arrived metric.UnixMilli) {
	late := min(max(int64(arrived-sec.Milli()), 0), math.MaxUint32)
	at := At{sec, uint32(late)}
	if g.Count == 0 {
		*g = Gauge{Count: 1, Sum: v, Min: v, Max: v, Last: v, At: at}
		return
	}
	g.Count++
	g.Sum += v
	g.Min = min(g.Min, v)
	g.Max = max(g.Max, v)
	if !at.before(g.At) {
		g.Last, g.At = v, at
	}
}

// Merge adds the readings of another gauge. Of two last readings with the same
// place in time the larger stays, so that the order of merges does not matter.
func (g *Gauge) Merge(other Bucket) {
	o := mergeable(g, other)
	switch {
	case o.Count == 0:
		return
	case g.Count == 0:
		*g = *o
		return
	}
	g.Count = plus(g.Count, o.Count)
	g.Sum = plus(g.Sum, o.Sum)
	g.Min = min(g.Min, o.Min)
	g.Max = max(g.Max, o.Max)
	if g.At.before(o.At) || g.At == o.At && g.Last < o.Last {
		g.Last, g.At = o.Last, o.At
	}
}

// Append appends the gauge's bytes. The last reading is not before base.
func (g *Gauge) Append(dst []byte, base metric.UnixSec) []byte {
	if g.Count == 0 {
		return dst
	}
	if g.At.Sec < base {
		panic(fmt.Sprintf("BUG: a reading of second %d in a slot that begins at %d", g.At.Sec, base))
	}
	head := uint64(g.At.Sec-base) << 1
	if g.Count > 1 {
		head |= 1
	}
	dst = binary.AppendUvarint(dst, head)
	dst = binary.AppendUvarint(dst, uint64(g.At.Late))
	dst = appendNumber(dst, g.Last)
	if g.Count > 1 {
		for _, v := range [...]float64{g.Count, g.Sum, g.Min, g.Max} {
			dst = appendNumber(dst, v)
		}
	}
	return dst
}

// Decode replaces the content by that of src.
func (g *Gauge) Decode(src []byte, base metric.UnixSec) error {
	g.Reset()
	if len(src) == 0 {
		return nil
	}
	r := reader{src: src, kind: "gauge"}
	head := r.uvarint()
	if head>>1 > uint64(metric.MaxSec-base) {
		r.fail(0, "a second beyond all tiers")
	}
	begin := r.at
	late := r.uvarint()
	if late > math.MaxUint32 {
		r.fail(begin, "a delay beyond 32 bits")
	}
	last := r.number()
	d := Gauge{
		Count: 1, Sum: last, Min: last, Max: last, Last: last,
		At: At{base + metric.UnixSec(head>>1), uint32(late)},
	}
	if head&1 != 0 {
		begin = r.at
		if d.Count = r.number(); d.Count < 2 || d.Count != math.Trunc(d.Count) {
			r.fail(begin, "a count that is not a whole number above 1")
		}
		d.Sum = r.number()
		begin = r.at
		d.Min, d.Max = r.number(), r.number()
		if d.Min > last || last > d.Max {
			r.fail(begin, "bounds that the last reading is not within")
		}
	}
	if err := r.end(); err != nil {
		return err
	}
	*g = d
	return nil
}

// Reset empties the gauge.
func (g *Gauge) Reset() { *g = Gauge{} }

// Size returns the bytes of memory that the gauge takes.
func (g *Gauge) Size() int { return int(unsafe.Sizeof(*g)) }
