package tsdb

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Flush writes what is in memory and in Pebble's log to tables. Nothing is safer by
// that: it makes the log short, and lets compactions see what is new.
func (s *Store) Flush() error {
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush the store: %w", err)
	}
	return nil
}

// Checkpoint makes a store in dir, which must not exist, of what is committed: of links
// to tables, which nobody changes, and of a copy of the log. It is durable when Checkpoint
// returns. Batches that are committed meanwhile are in it or not.
func (s *Store) Checkpoint(dir string) error {
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("make a checkpoint of the store: %w", reason(err))
	}
	return nil
}

// Shareable reports whether a file of a store, by its name, never changes: a copy of the
// store may be a link to it. Pebble writes to its log and manifest, and uses logs again.
func Shareable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// Format returns the format of the store.
func (a *Archive) Format() (uint64, error) { return readFormat(a.db) }
