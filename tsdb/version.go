package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
)

// storeFormat is the version of everything in the store. A store with a higher one is
// refused; one with a lower one gets it when it is opened to be written.
//
//	1  keys of one number each for cursor and totals
//	2  came with the journal: who knows only the watermark would count again what is
//	   in the store
//	3  column chunks, accounts, a retention clock, longer totals: who does not know
//	   them would call the store damaged
const storeFormat = 3

// Format is the format of stores that this version writes, and the newest that it reads.
const Format = storeFormat

// errNewer says that a store is of a later version.
type errNewer uint64

func (e errNewer) Error() string {
	return fmt.Sprintf("the store has format %d and this version of cairn reads up to %d; use the version that wrote it, or a newer one", uint64(e), storeFormat)
}

// readFormat returns the format of a store, 0 if it has none yet, and errNewer if it is
// none that this version reads.
func readFormat(db pebble.Reader) (uint64, error) {
	version, err := get(db, keyFormat, func(b []byte) (uint64, error) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, fmt.Errorf("%x is not a number", b)
		}
		return v, nil
	})
	if err == nil && version > storeFormat {
		err = errNewer(version)
	}
	return version, err
}

// checkFormat returns errNewer if the store in dir is of a later version. It looks before
// Pebble opens the store to write: a chunk of a kind that the merger does not know would
// make it try again for ever. What else is wrong is for the one who opens the store.
func (s *Store) checkFormat(o Options, dir string) error {
	o.FS = untouched{o.FS}
	p := options(o, s.cache)
	p.ReadOnly = true
	db, err := pebble.Open(dir, p)
	if err != nil {
		return nil
	}
	_, err = readFormat(db)
	_ = db.Close() // it was only read
	var newer errNewer
	if errors.As(err, &newer) {
		return newer
	}
	return nil
}

// upgrade makes the store one of this format. Until that is durable nothing is written
// that an older version does not read: batches come later, and compactions, which begin
// while Pebble opens the store, write runs.
func (s *Store) upgrade(version uint64, log *slog.Logger) error {
	if version < storeFormat {
		if err := s.db.Set(keyFormat, binary.AppendUvarint(nil, storeFormat), pebble.Sync); err != nil {
			return fmt.Errorf("write the format version: %w", err)
		}
		if version > 0 {
			log.Info("the store has the format of this version of cairn now; older versions do not read it any more", "format", storeFormat, "was", version)
		}
	}
	s.columns.format.Store(true)
	return nil
}

// FormatOnDisk returns the format that the store has.
func (s *Store) FormatOnDisk() (uint64, error) { return readFormat(s.db) }
