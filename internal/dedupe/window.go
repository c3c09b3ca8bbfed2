package dedupe

import (
	"cairn/internal/metric"
	"cairn/internal/mutant"
)

// Length is how many sequences a window holds: a producer that has a thousand
// batches under way, or tries one again for as long, is still told what became of
// each.
const Length = 1024

// slot is the verdict of one sequence. A list of rejected events is elsewhere.
type slot struct {
	hash     uint64
	at       uint64 // Unix ms << 2 | dirty << 1 | filled
	accepted uint32
	rejected uint32
}

const (
	filled = 1 << 0 // a verdict is in it
	dirty  = 1 << 1 // the store does not have it yet
)

func (s *slot) time() metric.UnixMilli { return metric.UnixMilli(s.at >> 2) }

// window is what is known of one producer. Windows.mu guards it.
type window struct {
	// ring has the slot of sequence n at n modulo its length, which is a power of 2,
	// Length at most, and no less than the distance from least to high.
	ring  []slot
	high  uint64 // the highest sequence that counts; 0: none does
	least uint64 // no slot below is filled
	low   uint64 // the lowest sequence that ever came, or the bottom of the window

	// dirtyLow to dirtyHigh hold all slots that are dirty; 0: none is.
	dirtyLow, dirtyHigh uint64
	trimmed             uint64 // Outgrown has told, or need not tell, what is below

	flying map[uint64]chan struct{} // sequences in flight; nil: nobody waits
	lists  map[uint64][]byte        // of rejected events, encoded; by sequence

	present                        int // slots that are filled
	seen                           metric.UnixMilli
	batches, duplicates, conflicts uint64
}

// bottom is the lowest sequence of a window with that highest one.
func bottom(high uint64) uint64 {
	if mutant.On("window-too-short") {
		return max(high, Length) - Length + 2
	}
	return max(high, Length) - Length + 1
}

// slot returns the verdict of a sequence; nil: there is none.
func (x *window) slot(seq uint64) *slot {
	if seq < x.least || seq > x.high || x.high == 0 {
		return nil
	}
	if s := &x.ring[seq&uint64(len(x.ring)-1)]; s.at&filled != 0 {
		return s
	}
	return nil
}

// tooOld reports whether a sequence is below the window.
func (x *window) tooOld(seq uint64) bool { return seq < bottom(x.high) }

// put sets a verdict, and moves the window if the sequence is above it. It is false
// where the sequence is below.
func (x *window) put(seq uint64, v *Verdict, flags uint64) bool {
	if x.tooOld(seq) {
		return false
	}
	switch {
	case x.high == 0:
		x.grow(seq, seq)
		x.low, x.least, x.high = seq, seq, seq
	case seq > x.high:
		x.drop(bottom(seq))
		if x.present == 0 {
			x.least = seq
		}
		x.grow(x.least, seq)
		x.high = seq
	default:
		x.grow(min(x.least, seq), x.high)
		x.low, x.least = min(x.low, seq), min(x.least, seq)
	}
	s := &x.ring[seq&uint64(len(x.ring)-1)]
	if s.at&filled == 0 {
		x.present++
	}
	delete(x.lists, seq)
	*s = slot{hash: v.Hash, at: uint64(max(0, v.At))<<2 | filled | flags, accepted: v.Accepted, rejected: v.total()}
	if flags&dirty == 0 {
		return true
	}
	if x.dirtyHigh == 0 {
		x.dirtyLow = seq
	}
	x.dirtyLow, x.dirtyHigh = min(x.dirtyLow, seq), max(x.dirtyHigh, seq)
	return true
}

// drop empties what is below a sequence.
func (x *window) drop(below uint64) {
	for n := x.least; n < below && n <= x.high; n++ {
		if s := x.slot(n); s != nil {
			*s = slot{}
			x.present--
			delete(x.lists, n)
		}
	}
	x.low, x.least = max(x.low, below), max(x.least, below)
}

// grow makes the ring long enough for sequences from least to high, which are of one
// window.
func (x *window) grow(least, high uint64) {
	if high-least < uint64(len(x.ring)) {
		return
	}
	size := uint64(max(4, len(x.ring))) // most producers send few batches at first
	for size <= high-least {
		size *= 2
	}
	ring := make([]slot, size)
	for n := x.least; n <= x.high; n++ {
		if s := x.slot(n); s != nil {
			ring[n&(size-1)] = *s
		}
	}
	x.ring = ring
}

// gaps counts the sequences below the highest, in the window, that never came.
func (x *window) gaps() int {
	if x.high == 0 {
		return 0
	}
	n := int(x.high-x.low) + 1 - x.present
	for seq := range x.flying {
		if seq >= x.low && seq < x.high && x.slot(seq) == nil {
			n--
		}
	}
	return n
}
