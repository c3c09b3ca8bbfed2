package tsdb

import (
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/wal"

	"cairn/internal/metric"
)

// Usage is what the files of a store take, in bytes, by what is in them. A table or log
// that holds several things is shared in proportion to the blocks, or records, that each
// has in it, so that indexes, filters and checksums are counted too: all but Total add up
// to Total.
type Usage struct {
	Tiers [len(metric.Tiers)]uint64 // chunks, by tier - 1
	Index uint64                    // metrics and series
	Other uint64                    // accounts, annotations, sequences of producers
	// Log is what of the logs of late writes holds nothing any more; of a store that is
	// open, all of them.
	Log   uint64
	Files uint64 // lists of files, and what will be deleted soon
	Total uint64
}

// known adds up what is in tables and in logs.
func (u *Usage) known() (n uint64) {
	for _, b := range u.Tiers {
		n += b
	}
	return n + u.Index + u.Other + u.Log
}

// class is a range of first bytes of keys, and where its bytes are counted.
type class struct {
	from, to byte // [from, to)
	bytes    func(*Usage) *uint64
}

func ofTier(t metric.Tier) class {
	return class{byte(t), byte(t) + 1, func(u *Usage) *uint64 { return &u.Tiers[t-1] }}
}

func inOther(u *Usage) *uint64 { return &u.Other }

// classes are all keys there are, ascending.
var classes = [...]class{
	{0, 1, inOther},
	ofTier(metric.Tier1s), ofTier(metric.Tier10s), ofTier(metric.Tier1m), ofTier(metric.Tier1h),
	{byte(metric.Tier1h) + 1, prefixMetric, inOther},
	{prefixMetric, prefixSeries + 1, func(u *Usage) *uint64 { return &u.Index }},
	{prefixSeries + 1, 0xff, inOther},
}

func classOf(key []byte) int {
	for i := range classes {
		if len(key) > 0 && key[0] < classes[i].to {
			return i
		}
	}
	return len(classes) - 1
}

// tableUsage adds up the tables of db.
func tableUsage(db *pebble.DB) (u Usage, err error) {
	levels, err := db.SSTables()
	if err != nil {
		return u, fmt.Errorf("list the tables: %w", err)
	}
	mixed := map[uint64]*[len(classes)]uint64{} // by number
	var sizes []mixedTable
	for _, level := range levels {
		for i := range level {
			t := &level[i]
			first, last := classOf(t.Smallest.UserKey), classOf(t.Largest.UserKey)
			if first == last {
				*classes[first].bytes(&u) += t.Size
				continue
			}
			no := uint64(t.FileNum)
			mixed[no] = new([len(classes)]uint64)
			sizes = append(sizes, mixedTable{no, t.Size, first})
		}
	}
	if len(sizes) == 0 {
		return u, nil
	}
	for i, c := range classes {
		levels, err := db.SSTables(pebble.WithKeyRangeFilter([]byte{c.from}, []byte{c.to}), pebble.WithApproximateSpanBytes())
		if err != nil {
			return u, fmt.Errorf("measure the tables: %w", err)
		}
		for _, level := range levels {
			for j := range level {
				if m := mixed[uint64(level[j].FileNum)]; m != nil {
					m[i] = level[j].ApproximateSpanBytes
				}
			}
		}
	}
	for _, t := range sizes {
		t.share(&u, mixed[t.no])
	}
	return u, nil
}

// mixedTable is a table with keys of several classes.
type mixedTable struct {
	no, size uint64
	first    int // class
}

// share divides the size of the table in proportion to the blocks of each class. A
// block that two have counts for both. What is left by rounding goes to the largest.
func (t mixedTable) share(u *Usage, blocks *[len(classes)]uint64) {
	var sum uint64
	most := t.first // of a table that only deletes
	for i, b := range blocks {
		if sum += b; b > blocks[most] {
			most = i
		}
	}
	left := t.size
	for i, b := range blocks {
		if sum > 0 && i != most {
			n := uint64(float64(t.size) * float64(b) / float64(sum))
			*classes[i].bytes(u) += n
			left -= n
		}
	}
	*classes[most].bytes(u) += left
}

// Usage measures a store that is open: an estimate, since it goes on being written.
func (s *Store) Usage() (Usage, error) {
	u, err := tableUsage(s.db)
	if err != nil {
		return u, err
	}
	m := s.db.Metrics()
	u.Log = m.WAL.PhysicalSize
	u.Total = max(m.DiskSpaceUsage(), u.known())
	u.Files = u.Total - u.known()
	return u, nil
}

// usage measures the files of a store that nobody writes.
func (a *Archive) usage() (Usage, error) {
	u, err := tableUsage(a.db)
	if err != nil {
		return u, err
	}
	if u.Log, u.Total, err = a.fileSizes(); err != nil {
		return u, err
	}
	// A table of which only a part is in use is counted by that part.
	if err := a.shareLog(&u); err != nil {
		return u, err
	}
	u.Total = max(u.Total, u.known())
	u.Files = u.Total - u.known()
	return u, nil
}

// fileSizes adds up the logs, and all files.
func (a *Archive) fileSizes() (log, all uint64, err error) {
	names, err := a.fs.List(a.dir)
	if err != nil {
		return 0, 0, fmt.Errorf("list the files of the store: %w", reason(err))
	}
	for _, name := range names {
		info, err := a.fs.Stat(a.fs.PathJoin(a.dir, name))
		if err != nil {
			return 0, 0, fmt.Errorf("measure %q: %w", name, reason(err))
		}
		if info.IsDir() {
			continue
		}
		all += uint64(info.Size())
		if strings.HasSuffix(name, ".log") {
			log += uint64(info.Size())
		}
	}
	return log, all, nil
}

// shareLog counts what the logs hold where it belongs; their ends, which hold nothing,
// stay in u.Log. What cannot be read does too: Pebble has read them when it opened.
func (a *Archive) shareLog(u *Usage) error {
	logs, err := wal.Scan(wal.Dir{FS: a.fs, Dirname: a.dir})
	if err != nil {
		return fmt.Errorf("list the logs of the store: %w", reason(err))
	}
	for _, log := range logs {
		var held [len(classes)]uint64
		var end uint64
		r := log.OpenForRead()
		for {
			record, at, err := r.NextRecord()
			if err != nil {
				break
			}
			b, err := io.ReadAll(record)
			if err != nil {
				break
			}
			end = uint64(at.PreviousFilesBytes+at.Physical) + uint64(len(b))
			addBatch(b, &held)
		}
		if err := r.Close(); err != nil {
			return fmt.Errorf("read log %s: %w", log.Num, err)
		}
		var sum uint64
		for _, n := range held {
			sum += n
		}
		if sum == 0 {
			continue
		}
		end = min(end, u.Log)
		mixedTable{size: end}.share(u, &held)
		u.Log -= end
	}
	return nil
}

// addBatch adds the lengths of what a batch of the log holds.
func addBatch(b []byte, held *[len(classes)]uint64) {
	if len(b) < batchrepr.HeaderLen {
		return
	}
	for r := batchrepr.Read(b); ; {
		kind, key, value, ok, err := r.Next()
		if !ok || err != nil {
			return
		}
		switch kind {
		case pebble.InternalKeyKindIngestSST, pebble.InternalKeyKindLogData: // name files
		default:
			held[classOf(key)] += uint64(len(key) + len(value))
		}
	}
}

// Owner returns the PID of the process that has a data dir open; 0: it is not known.
func Owner(fs vfs.FS, dir string) int {
	s := Store{fs: fs, pid: fs.PathJoin(dir, "cairn.pid")}
	return s.owner()
}
