package chunk

import (
	"encoding/binary"

	"cairn/internal/metric"
)

// Presence.
const (
	sparse = iota
	holes
	dense
)

// minColumn is how many slots a chunk has for columns to be tried: for fewer a run is
// hardly ever larger.
const minColumn = 16

// maxHoled bounds the span of values of a plane with holes.
const maxHoled = 1 << 40

func appendFrame(dst []byte, k metric.Kind, presence byte, slots []uint32) []byte {
	dst = append(dst, columns+byte(k), presence)
	dst = binary.AppendUvarint(dst, uint64(len(slots)))
	return binary.AppendUvarint(dst, uint64(slots[0]))
}

// appendPresence appends the frame of slots, dense or sparse.
func (e *encoder) appendPresence(dst []byte, k metric.Kind, slots []uint32) []byte {
	n := len(slots)
	if int(slots[n-1]-slots[0])+1 == n {
		return appendFrame(dst, k, dense, slots)
	}
	dst = appendFrame(dst, k, sparse, slots)
	for i := range slots[1:] {
		e.ints[i] = int64(slots[i+1] - slots[i] - 1)
	}
	return e.appendInts(dst, e.ints[:n-1])
}

// appendSums appends the columns of a counter.
func (e *encoder) appendSums(dst []byte, slots []uint32, sums []float64) []byte {
	n := len(slots)
	covered := int(slots[n-1]-slots[0]) + 1
	begin := len(dst)
	// Where half of the slots are empty a symbol for these costs more than gaps do.
	if covered > n && covered < 4*n {
		dst = e.appendHoled(dst, slots, sums, covered)
		if len(dst) > begin && covered < n+n/4 {
			return dst
		}
	}
	if len(dst) == begin {
		return e.appendNumbers(e.appendPresence(dst, metric.Counter, slots), sums)
	}
	e.other = e.appendNumbers(e.appendPresence(e.other[:0], metric.Counter, slots), sums)
	if len(e.other) < len(dst)-begin {
		dst = append(dst[:begin], e.other...)
	}
	return dst
}

// appendHoled appends a dense form in which a symbol stands for no event, or nothing.
func (e *encoder) appendHoled(dst []byte, slots []uint32, sums []float64, covered int) []byte {
	n := len(slots)
	places, ok := scale(sums, e.ints[:])
	if !ok {
		return dst
	}
	ints := e.ints[:n]
	lo, hi := ints[0], ints[0]
	for _, v := range ints {
		lo, hi = min(lo, v), max(hi, v)
	}
	if hi-lo > maxHoled {
		return dst
	}
	s := e.shapeOf(ints, covered-n)
	dst = appendFrame(dst, metric.Counter, holes, slots)
	dst = binary.AppendUvarint(dst, uint64(covered))
	dst = append(dst, byte(places))
	dst = binary.AppendVarint(dst, s.min)
	dst = append(dst, byte(s.low))
	plane := e.bytes[:covered]
	clear(plane)
	for i, slot := range slots {
		plane[slot-slots[0]] = 1 + byte(uint64(ints[i]-s.min)>>s.low)
	}
	dst = e.appendPlane(dst, plane)
	return appendLow(dst, ints, s)
}

// frame is the begin of columns, decoded.
type frame struct {
	presence byte
	n        int    // slots with an event
	first    uint32 // of them
	covered  int    // of holes
}

// frame decodes the begin of columns. limit is the number of slots of the tier.
func (r *reader) frame(limit uint32) (f frame) {
	r.at = 1
	begin := r.at
	if f.presence = r.byte(); f.presence > dense {
		r.fail(begin, "an unknown presence")
	}
	begin = r.at
	n := r.uvarint()
	if n == 0 || n > uint64(limit) {
		r.fail(begin, "a number of slots that the partition does not have")
		n = 1
	}
	begin = r.at
	first := r.uvarint()
	if first > uint64(limit)-n {
		r.fail(begin, "slots beyond the partition")
		first = 0
	}
	f.n, f.first, f.covered = int(n), uint32(first), int(n)
	if f.presence == holes {
		begin = r.at
		covered := r.uvarint()
		if covered < n || covered > uint64(limit)-first {
			r.fail(begin, "slots beyond the partition")
			covered = n
		}
		f.covered = int(covered)
	}
	return f
}

// slots decodes the slots of a frame without holes.
func (d *Decoder) slotsOf(r *reader, f frame, limit uint32) []uint32 {
	if f.presence == dense || r.err != nil {
		return d.all[f.first : int(f.first)+f.n]
	}
	begin := r.at
	slots := d.slots[:f.n]
	slots[0] = f.first
	at := int64(f.first)
	for i, gap := range d.ints(r, f.n-1, d.offsets[:]) {
		at += gap + 1
		if gap < 0 || at >= int64(limit) {
			r.fail(begin, "slots beyond the partition")
			return slots
		}
		slots[i+1] = uint32(at)
	}
	return slots
}

// columnSums decodes a counter's columns, of the slots in [lo, hi).
func (d *Decoder) columnSums(b []byte, limit, lo, hi uint32) ([]uint32, []float64, error) {
	r := reader{src: b}
	f := r.frame(limit)
	if f.presence == holes {
		slots, sums := d.holed(&r, f, lo, hi)
		return slots, sums, r.end()
	}
	slots := d.slotsOf(&r, f, limit)
	from, to := within(slots, lo, hi)
	sums := d.numbersIn(&r, f.n, d.sums[:], from, to)
	return slots[from:to], sums[from:to], r.end()
}

// holed decodes what appendHoled wrote.
func (d *Decoder) holed(r *reader, f frame, lo, hi uint32) ([]uint32, []float64) {
	begin := r.at
	places := r.byte()
	base := r.varint()
	k := int(r.byte())
	if places > maxPlaces || k > maxLow || base > 2*maxWhole || base < -2*maxWhole {
		r.fail(begin, "an unknown shape of a column")
		return nil, nil
	}
	begin = r.at
	plane := d.plane(r, f.covered, d.planes[:])
	if r.err != nil {
		return nil, nil
	}
	slots, n := &d.slots, 0
	for i, b := range plane {
		slots[n] = f.first + uint32(i) // overwritten by the next one if there is none
		plane[n] = b - 1
		if b != 0 {
			n++
		}
	}
	if n != f.n {
		r.fail(begin, "another number of slots than the chunk says")
		return nil, nil
	}
	from, to := within(slots[:n], lo, hi)
	sums := d.sums[:n]
	d.join(r, plane[:n], sums, base, k, from, to)
	if places > 0 {
		by := powers[places]
		for i := range sums[from:to] {
			sums[from+i] /= by
		}
	}
	return slots[from:to], sums[from:to]
}
