package reconcile

import (
	"encoding/binary"
	"fmt"

	"cairn/internal/journal"
	"cairn/internal/metric"
)

// dictionary tells which metric the handles of each run of the process were of. It
// reads what internal/flush draws, and keeps 4 bytes a series.
type dictionary struct {
	runs  map[uint64][]uint32 // by handle: place of the metric + 1
	place func(metric.ID) uint32
}

// maxHandle bounds what is believed of a handle: --max-series is less.
const maxHandle = 1 << 28

func (d *dictionary) add(rec *journal.Record) error {
	h := rec.Head
	if len(h) < 10 || h[0] != 1 {
		return fmt.Errorf("a record of series that begins with %.2x; this version of cairn reads version 1", h)
	}
	run := binary.LittleEndian.Uint64(h[1:])
	first, n := binary.Uvarint(h[9:])
	if n != len(h)-9 || first > maxHandle {
		return fmt.Errorf("a record of series whose head is %x", h)
	}
	handles := d.runs[run]
	for uint64(len(handles)) < first {
		handles = append(handles, 0) // damaged; they stay unknown
	}
	at := int(first) // what was written again is the same as before
	for b := rec.Body; len(b) > 0; {
		kind := metric.Kind(b[0])
		name, rest, ok := cut(b[1:])
		if ok {
			_, rest, ok = cut(rest) // the tags do not matter
		}
		if !ok || !kind.Valid() {
			return fmt.Errorf("a record of series of %d bytes: bad entry at offset %d", len(rec.Body), len(rec.Body)-len(b))
		}
		if at == len(handles) {
			handles = append(handles, 0)
		}
		handles[at] = d.place(metric.ID{Name: string(name), Kind: kind}) + 1
		at++
		b = rest
	}
	d.runs[run] = handles
	return nil
}

// cut takes a text with its length off b.
func cut(b []byte) (text, rest []byte, ok bool) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, false
	}
	end := n + int(size)
	return b[n:end], b[end:], true
}

// metric returns the place of the metric of a handle; false: nothing names it.
func (d *dictionary) metric(run uint64, handle uint32) (uint32, bool) {
	handles := d.runs[run]
	if uint64(handle) >= uint64(len(handles)) || handles[handle] == 0 {
		return 0, false
	}
	return handles[handle] - 1, true
}
