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

// apply commits what write writes as one synced Pebble batch.
func (s *Store) apply(write func(writer) error) error {
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
	w     *sstable.Writer // of the last one; nil: it is finished
	size  int
	tier  byte // of the last key: each tier has tables of its own
}

// ingest commits what write writes as tables. Pebble syncs its manifest when it
// takes them over, and takes all or none.
func (s *Store) ingest(write func(writer) error) (err error) {
	t := &tables{s: s}
	if err = write(t); err == nil {
		err = t.finish()
	}
	if err == nil {
		err = s.db.Ingest(context.Background(), t.paths)
	}
	if err != nil {
		return errors.Join(err, t.discard())
	}
	return nil
}

func (t *tables) next(key, value []byte) (*sstable.Writer, error) {
	if t.w != nil && (t.size >= maxTable || key[0] != t.tier) {
		if err := t.finish(); err != nil {
			return nil, err
		}
	}
	t.tier = key[0]
	t.size += len(key) + len(value)
	if t.w != nil {
		return t.w, nil
	}
	path := t.s.fs.PathJoin(t.s.dir, fmt.Sprintf("%s%06d.sst", tableName, len(t.paths)))
	f, err := t.s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, fmt.Errorf("make a table: %w", err)
	}
	t.paths = append(t.paths, path)
	t.w = sstable.NewWriter(objstorageprovider.NewFileWritable(f), t.s.options.MakeWriterOptions(0, t.s.db.TableFormat()))
	return t.w, nil
}

func (t *tables) finish() error {
	if t.w == nil {
		return nil
	}
	w := t.w
	t.w, t.size = nil, 0
	if err := w.Close(); err != nil { // synced
		return fmt.Errorf("write a table: %w", err)
	}
	return nil
}

func (t *tables) Set(key, value []byte) error {
	w, err := t.next(key, value)
	if err != nil {
		return err
	}
	return w.Set(key, value)
}

func (t *tables) Merge(key, value []byte) error {
	w, err := t.next(key, value)
	if err != nil {
		return err
	}
	return w.Merge(key, value)
}

func (t *tables) DeleteRange(start, end []byte) error {
	w, err := t.next(start, end)
	if err != nil {
		return err
	}
	return w.DeleteRange(start, end)
}

// discard removes the tables.
func (t *tables) discard() error {
	var errs []error
	if t.w != nil {
		_ = t.w.Close() // it is thrown away
		t.w = nil
	}
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
