package tsdb

import "fmt"

// Flush writes what is in memory and in Pebble's log to tables. Nothing is safer by
// that: it makes the log short, and lets compactions see what is new.
func (s *Store) Flush() error {
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush the store: %w", err)
	}
	return nil
}
