package tsdb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Sequence is what is kept of one batch of a producer, so that it is not counted
// twice. What the value means is the caller's affair.
type Sequence struct {
	Producer [16]byte
	Number   uint64 // below 2^64-1
	Value    []byte
}

// sequenceKeyLen is prefix(1) producer(16) number(8), big endian.
const sequenceKeyLen = 25

func appendSequenceKey(dst []byte, producer [16]byte, number uint64) []byte {
	dst = append(append(dst, prefixSequence), producer[:]...)
	return binary.BigEndian.AppendUint64(dst, number)
}

// AddSequences keeps sequences, or gives them another value. The values are not
// copied.
func (b *Batch) AddSequences(list []Sequence) { b.sequences = append(b.sequences, list...) }

// ForgetSequences lets go of the sequences of a producer below a number; of all with
// ^uint64(0). It comes before what is added in the same batch, which stays.
func (b *Batch) ForgetSequences(producer [16]byte, below uint64) {
	if b.forget == nil {
		b.forget = make(map[[16]byte]uint64)
	}
	b.forget[producer] = max(b.forget[producer], below)
}

// writeSequences writes what is added, and deletes what lies between and is forgotten.
// So everything comes in ascending order and nothing overlaps, and tables may end
// anywhere.
func (b *Batch) writeSequences(w writer) error {
	slices.SortStableFunc(b.sequences, func(x, y Sequence) int {
		return cmp.Or(bytes.Compare(x.Producer[:], y.Producer[:]), cmp.Compare(x.Number, y.Number))
	})
	producers := make([][16]byte, 0, len(b.forget))
	for p := range b.forget {
		producers = append(producers, p)
	}
	slices.SortFunc(producers, func(x, y [16]byte) int { return bytes.Compare(x[:], y[:]) })
	rest := b.sequences
	for _, p := range producers {
		n, _ := slices.BinarySearchFunc(rest, p, func(s Sequence, p [16]byte) int { return bytes.Compare(s.Producer[:], p[:]) })
		if err := setSequences(w, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		from, below := uint64(0), b.forget[p]
		for n = 0; n < len(rest) && rest[n].Producer == p && rest[n].Number < below; n++ {
			if err := deleteSequences(w, p, from, rest[n].Number); err != nil {
				return err
			}
			from = rest[n].Number + 1
			if n+1 < len(rest) && rest[n+1].Producer == p && rest[n+1].Number == rest[n].Number {
				continue // the one behind it is written
			}
			if err := setSequences(w, rest[n:n+1]); err != nil {
				return err
			}
		}
		rest = rest[n:]
		if err := deleteSequences(w, p, from, below); err != nil {
			return err
		}
	}
	return setSequences(w, rest)
}

// setSequences sets sequences, which are sorted; of equal ones the last.
func setSequences(w writer, list []Sequence) error {
	key := make([]byte, 0, sequenceKeyLen)
	for i := range list {
		s := &list[i]
		if i+1 < len(list) && list[i+1].Producer == s.Producer && list[i+1].Number == s.Number {
			continue
		}
		key = appendSequenceKey(key[:0], s.Producer, s.Number)
		if err := w.Set(key, s.Value); err != nil {
			return fmt.Errorf("add a sequence: %w", err)
		}
	}
	return nil
}

// deleteSequences deletes those in [from, to).
func deleteSequences(w writer, p [16]byte, from, to uint64) error {
	if from >= to {
		return nil
	}
	if err := w.DeleteRange(appendSequenceKey(nil, p, from), appendSequenceKey(nil, p, to)); err != nil {
		return fmt.Errorf("forget sequences: %w", err)
	}
	return nil
}

// Sequences yields all sequences that are kept, by producer and number. The value is
// only valid during the call.
func (s *Store) Sequences(yield func(producer [16]byte, number uint64, value []byte) error) (err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixSequence}, UpperBound: []byte{prefixSequence + 1}})
	if err != nil {
		return fmt.Errorf("read sequences: %w", err)
	}
	defer func() {
		if e := errors.Join(iter.Error(), iter.Close()); err == nil && e != nil {
			err = fmt.Errorf("read sequences: %w", e)
		}
	}()
	for ok := iter.First(); ok; ok = iter.Next() {
		key := iter.Key()
		if len(key) != sequenceKeyLen {
			return fmt.Errorf("key %x is no sequence's", key)
		}
		v, err := iter.ValueAndErr()
		if err != nil {
			return fmt.Errorf("read sequences: %w", err)
		}
		if err := yield([16]byte(key[1:]), binary.BigEndian.Uint64(key[17:]), v); err != nil {
			return fmt.Errorf("key %x: %w", key, err)
		}
	}
	return nil
}
