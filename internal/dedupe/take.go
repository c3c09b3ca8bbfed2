package dedupe

import (
	"bytes"
	"cmp"
	"slices"

	"cairn/internal/metric"
)

// Entry is what the store keeps of a batch.
type Entry struct {
	Producer Producer
	Sequence uint64
	Verdict  Verdict
}

// Take returns what counts, and is still in its window, and was in no Take before.
// It belongs into the flush that commits the counts, and if that fails into the next
// one.
func (w *Windows) Take() (out []Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.changed {
		x := w.producers[p]
		if x == nil || x.dirtyHigh == 0 {
			continue // it was forgotten, or was taken: it is listed twice
		}
		for seq := max(x.dirtyLow, x.least); seq <= x.dirtyHigh; seq++ {
			if s := x.slot(seq); s != nil && s.at&dirty != 0 {
				s.at &^= dirty
				out = append(out, Entry{p, seq, x.verdict(seq, s)})
			}
		}
		x.dirtyLow, x.dirtyHigh = 0, 0
	}
	w.changed = nil
	return out
}

// Expired forgets the producers whose last batch is longer ago than Keep, and returns
// them and those that were forgotten to make room, for the store to delete all of
// them. The store does so before it adds what Take returned: a producer may have come
// back.
func (w *Windows) Expired(now metric.UnixMilli) (out []Producer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, x := range w.producers {
		// A clock that was wrong, and has been set back, would keep it for years.
		x.seen = min(x.seen, now)
		if now-x.seen > metric.UnixMilli(Keep.Milliseconds()) && len(x.flying) == 0 {
			delete(w.producers, p)
			w.totals.Expired++
			out = append(out, p)
		}
	}
	out = append(out, w.forgotten...)
	w.forgotten = nil
	slices.SortFunc(out, func(a, b Producer) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(out)
}

// Outgrown is a window whose bottom rose.
type Outgrown struct {
	Producer Producer
	Below    uint64 // what is below is TooOld
}

// Outgrown returns the windows that have moved by their length since they were
// returned last, for the store to delete what is below. So it has at most two windows
// of a producer.
func (w *Windows) Outgrown() (out []Outgrown) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, x := range w.producers {
		if below := bottom(x.high); below >= x.trimmed && below-x.trimmed >= Length {
			x.trimmed = below
			out = append(out, Outgrown{p, below})
		}
	}
	slices.SortFunc(out, func(a, b Outgrown) int { return bytes.Compare(a.Producer[:], b.Producer[:]) })
	return out
}

// ProducerStats describes a producer.
type ProducerStats struct {
	Producer string // its UUID
	Sequence uint64 // the highest that counts
	Gaps     int    // sequences below it, in the window, that never came
	InFlight int
	LastSeen metric.UnixMilli

	Batches, Duplicates, Conflicts uint64 // since the start of the process
}

// Producers describes at most n producers, those that were seen last.
func (w *Windows) Producers(n int) []ProducerStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Producer, 0, len(w.producers))
	for p := range w.producers {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Producer) int {
		return cmp.Or(cmp.Compare(w.producers[b].seen, w.producers[a].seen), bytes.Compare(a[:], b[:]))
	})
	out := make([]ProducerStats, 0, min(n, len(list)))
	for _, p := range list[:min(n, len(list))] {
		x := w.producers[p]
		out = append(out, ProducerStats{
			Producer: p.String(), Sequence: x.high, Gaps: x.gaps(), InFlight: len(x.flying), LastSeen: x.seen,
			Batches: x.batches, Duplicates: x.duplicates, Conflicts: x.conflicts,
		})
	}
	return out
}

// Totals are of all producers; the counts since the start of the process.
type Totals struct {
	Producers, Sequences, InFlight, Gaps int

	Batches    uint64 // finished
	Duplicates uint64
	Conflicts  uint64
	TooOld     uint64
	Full       uint64 // refused, as there were too many producers
	Expired    uint64 // producers that were forgotten, Keep after their last batch
	Forgotten  uint64 // producers that were forgotten earlier, to make room
}

// Totals returns figures of one instant.
func (w *Windows) Totals() Totals {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.totals
	t.Producers = len(w.producers)
	for _, x := range w.producers {
		t.Sequences += x.present
		t.InFlight += len(x.flying)
		t.Gaps += x.gaps()
	}
	return t
}
