package journal

import (
	"math/bits"
	"time"
)

// Stats is what a log did since it was opened.
type Stats struct {
	Segments      int
	Bytes         int64  // of them
	Appended      uint64 // records
	AppendedBytes uint64 // as they are stored
	Refused       uint64 // records that were appended and not written
	Pending       int64  // bytes that wait for the disk
	Syncs         uint64
	LastSync      time.Duration
	LongestSync   time.Duration
	SyncTimes     [32]uint64 // syncs that took less than 2^i µs, and not less than half of it
	Torn          uint64     // tails that a crash cut, found by Replay
	Damaged       uint64     // stretches, found by Replay
	Failed        bool
}

func (s *Stats) sync(took time.Duration) {
	s.Syncs++
	s.LastSync, s.LongestSync = took, max(s.LongestSync, took)
	s.SyncTimes[min(bits.Len64(uint64(max(took.Microseconds(), 0))), len(s.SyncTimes)-1)]++
}

// SyncQuantile returns a time that the share q of the syncs did not exceed, to a
// factor of two.
func (s *Stats) SyncQuantile(q float64) time.Duration {
	var n uint64
	for i, count := range s.SyncTimes {
		if n += count; n > 0 && float64(n) >= q*float64(s.Syncs) {
			return min(time.Microsecond<<i, s.LongestSync)
		}
	}
	return 0
}

// Stats returns what the log did.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Pending, s.Failed = l.pending, l.failed != nil
	for _, g := range l.segments {
		if g.made {
			s.Segments++
			s.Bytes += g.end
		}
	}
	return s
}

// From returns how many bytes lie at p and behind it, as far as they are kept.
func (l *Log) From(p Pos) (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.segments {
		switch {
		case !g.made || g.number < p.segment():
		case g.number == p.segment():
			n += max(0, g.end-p.offset())
		default:
			n += g.end
		}
	}
	return n
}
