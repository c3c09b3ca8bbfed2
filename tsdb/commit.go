package tsdb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// bulkRows is how many series a batch must have to be committed as tables. Fewer
// go through Pebble's log and memtable, which costs one sync; as many as this cost
// more there: a copy in memory, one in the log, and a sort
// (docs/decisions/0005).
const bulkRows = 20_000

// bulkBytes is how many bytes of operands make tables of a batch of fewer series: Pebble takes
// no batch of more than 4 GiB, and a memtable and a log of as much beside it.
const bulkBytes = 64 << 20

// apply commits what write writes as one synced Pebble batch.
func (s *Store) apply(write func(pebbleBatch) error) error {
	b := s.db.NewBatch()
	err := write(pebbleBatch{b})
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	return errors.Join(err, b.Close())
}

// pebbleBatch is the writer of small batches.
type pebbleBatch struct{ b *pebble.Batch }

func (p pebbleBatch) Set(key, value []byte) error         { return p.b.Set(key, value, nil) }
func (p pebbleBatch) Merge(key, value []byte) error       { return p.b.Merge(key, value, nil) }
func (p pebbleBatch) Delete(key []byte) error             { return p.b.Delete(key, nil) }
func (p pebbleBatch) DeleteRange(start, end []byte) error { return p.b.DeleteRange(start, end, nil) }

// maxTable is the size at which a table ends and the next one begins, in bytes
// before compression: so that a compaction can take a part of a flush.
const maxTable = 32 << 20

// tableName begins the names of tables that are not in the store yet. What is left
// of them by a crash is removed at the next start.
const tableName = "bulk-"

// tables is the writer of large batches: it makes tables of them, which the store
// takes over all at once.
type tables struct {
	s     *Store
	paths []string
	open  []*table // one for each place that is being written
	wide  bool     // chunks come in the order of keys: those of a tier share tables
}

// table is one that is being written. Keys of a place come in ascending order, and
// places do not overlap.
type table struct {
	place [placeLen]byte
	w     *sstable.Writer
	size  int
}

// placeLen is how many bytes of a key name its place: tier and partition. Other keys
// have no place and share a table.
const placeLen = 5

func placeOf(key []byte) (p [placeLen]byte) {
	if len(key) == chunkKeyLen {
		copy(p[:], key)
	} else {
		p[0] = key[0]
	}
	return p
}

// ingest commits what write writes as tables. Pebble syncs its manifest when it
// takes them over, and takes all or none.
func (s *Store) ingest(write func(writer) error, wide bool) (err error) {
	t := &tables{s: s, wide: wide}
	if err = write(t); err == nil {
		err = t.finish(0)
	}
	if err == nil {
		err = s.db.Ingest(context.Background(), t.paths)
	}
	if err != nil {
		return errors.Join(err, t.discard())
	}
	return nil
}

// table returns the one that a key goes to.
func (t *tables) table(key []byte, size int) (*sstable.Writer, error) {
	p := placeOf(key)
	if t.wide {
		p = [placeLen]byte{key[0]}
	}
	for i, open := range t.open {
		if open.place != p {
			continue
		}
		if open.size += size; open.size <= t.s.tableSize {
			return open.w, nil
		}
		t.open = append(t.open[:i], t.open[i+1:]...)
		if err := open.finish(); err != nil {
			return nil, err
		}
		break
	}
	// A batch of many places comes place by place.
	if err := t.finish(narrow); err != nil {
		return nil, err
	}
	path := t.s.fs.PathJoin(t.s.dir, fmt.Sprintf("%s%06d.sst", tableName, len(t.paths)))
	f, err := t.s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("make a table: %w", err)
	}
	t.paths = append(t.paths, path)
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), t.s.options.MakeWriterOptions(0, t.s.db.TableFormat()))
	t.open = append(t.open, &table{p, w, size})
	return w, nil
}

// finish finishes the tables that were begun first, until at most n are open.
func (t *tables) finish(n int) error {
	for len(t.open) > n {
		first := t.open[0]
		t.open = t.open[1:]
		if err := first.finish(); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the rest of a table and syncs it.
func (t *table) finish() error {
	if err := t.w.Close(); err != nil {
		return fmt.Errorf("write a table: %w", err)
	}
	return nil
}

func (t *tables) Set(key, value []byte) error {
	w, err := t.table(key, len(key)+len(value))
	if err != nil {
		return err
	}
	return w.Set(key, value)
}

func (t *tables) Merge(key, value []byte) error {
	w, err := t.table(key, len(key)+len(value))
	if err != nil {
		return err
	}
	return w.Merge(key, value)
}

func (t *tables) DeleteRange(start, end []byte) error {
	w, err := t.table(start, len(start)+len(end))
	if err != nil {
		return err
	}
	return w.DeleteRange(start, end)
}

// discard removes the tables.
func (t *tables) discard() error {
	var errs []error
	for _, open := range t.open {
		_ = open.w.Close() // it is thrown away
	}
	t.open = nil
	for _, path := range t.paths {
		if err := t.s.fs.Remove(path); err != nil && !isNotExist(err) {
			errs = append(errs, fmt.Errorf("remove a table: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeTables removes what a crash left.
func (s *Store) removeTables() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return fmt.Errorf("list the data dir: %w", err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, tableName) {
			if err := s.fs.Remove(s.fs.PathJoin(s.dir, name)); err != nil {
				return fmt.Errorf("remove a table that a crash left: %w", err)
			}
		}
	}
	return nil
}
