package tsdb

import (
	"context"
	"fmt"
	"time"

	"cairn/internal/metric"
)

// Figures are the store's figures about itself, of one instant. Those that count do so
// since it was opened; sizes are in bytes.
type Figures struct {
	Stalls   [numStalls]Stall // one that goes on is in it, as far as it went
	SlowDisk SlowDisk
	Failed   uint64 // pieces of work in the background that failed, and were tried again

	Compactions        uint64
	CompactionsRunning int
	CompactionsFailed  uint64
	CompactedIn        uint64 // read by compactions
	CompactedOut       uint64 // written by them
	Debt               uint64 // estimate of what compactions have to read before none is due

	Flushes        uint64 // of memtables; flushes of sums are the pump's
	FlushesRunning int
	Flushed        uint64 // bytes that came by them,
	Ingested       uint64 // and those that came as tables
	TablesIngested uint64

	Tables        uint64
	L0Tables      uint64 // the newest ones, which may overlap
	L0Sublevels   int    // how many of these at most one key may be in
	ReadAmp       int    // in how many places at most a key is looked for
	Memtables     int
	MemtableBytes uint64
	LogBytes      uint64 // of Pebble's log, what is not in tables yet

	CacheHits, CacheMisses uint64
	CacheBytes             uint64
}

// Figures returns them. It takes locks that a commit takes as well: a scrape may ask,
// a query should not.
func (s *Store) Figures() (f Figures) {
	s.health.tell()
	s.health.fill(&f)
	m := s.db.Metrics()
	f.Compactions, f.CompactionsFailed = uint64(m.Compact.Count), uint64(m.Compact.FailedCount)
	f.CompactionsRunning, f.FlushesRunning = int(m.Compact.NumInProgress), int(m.Flush.NumInProgress)
	f.Debt = m.Compact.EstimatedDebt
	f.Flushes = uint64(m.Flush.Count)
	for i := range m.Levels {
		l := &m.Levels[i]
		f.CompactedOut += l.TableBytesCompacted
		f.Flushed += l.TableBytesFlushed
		f.Ingested += l.TableBytesIngested
		f.TablesIngested += l.TablesIngested
		f.Tables += uint64(l.TablesCount)
		f.CompactedIn += l.TableBytesRead
	}
	f.L0Tables, f.L0Sublevels = uint64(m.Levels[0].TablesCount), int(m.Levels[0].Sublevels)
	f.ReadAmp = m.ReadAmp()
	f.Memtables, f.MemtableBytes = int(m.MemTable.Count), m.MemTable.Size
	f.LogBytes = m.WAL.Size
	f.CacheHits, f.CacheMisses = uint64(m.BlockCache.Hits), uint64(m.BlockCache.Misses)
	f.CacheBytes = uint64(m.BlockCache.Size)
	return f
}

func (h *health) fill(f *Figures) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.Stalls, f.SlowDisk, f.Failed = h.stalls, h.disk, h.failed
	if !h.since.IsZero() {
		f.Stalls[h.why].Took += max(time.Duration(0), h.clock.Now().Sub(h.since))
	}
}

// Compact merges everything that is stored into the lowest level, which takes as long as
// reading and writing it does.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil {
		return fmt.Errorf("compact the store: %w", err)
	}
	return nil
}

// TierBytes returns an estimate of what a tier takes of the disk.
func (s *Store) TierBytes(t metric.Tier) (uint64, error) {
	n, err := s.db.EstimateDiskUsage([]byte{byte(t)}, []byte{byte(t) + 1})
	if err != nil {
		return 0, fmt.Errorf("weigh the tier %s: %w", t, err)
	}
	return n, nil
}
