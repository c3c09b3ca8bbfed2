package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// keepAnnotations is how many annotations the store keeps: the latest ones. More
// on one chart cannot be told apart.
const keepAnnotations = 10_000

// formatAnnotation is the first byte of an annotation's value:
//
//	byte     format: 01
//	byte     1: a service check, 0: an event
//	uvarint  Unix second
//	for each of title, text, status, priority, host, key, source, tagset:
//	  uvarint  length
//	  bytes
const formatAnnotation = 0x01

func (b *Batch) writeAnnotations(w writer) error {
	if len(b.annotations) == 0 {
		return nil
	}
	next := b.s.annotations + uint64(len(b.annotations))
	kept := max(next, keepAnnotations) - keepAnnotations // the first one
	if kept > 0 {
		if err := w.DeleteRange(annotationKey(0), annotationKey(kept)); err != nil {
			return fmt.Errorf("let go of old annotations: %w", err)
		}
	}
	for i := range b.annotations {
		n := b.s.annotations + uint64(i)
		if n < kept {
			continue
		}
		if err := w.Set(annotationKey(n), appendAnnotation(nil, &b.annotations[i])); err != nil {
			return fmt.Errorf("add an annotation: %w", err)
		}
	}
	return nil
}

func appendAnnotation(dst []byte, a *metric.Annotation) []byte {
	check := byte(0)
	if a.Check {
		check = 1
	}
	dst = append(dst, formatAnnotation, check)
	dst = binary.AppendUvarint(dst, uint64(a.Time))
	for _, s := range []string{a.Title, a.Text, a.Status, a.Priority, a.Host, a.Key, a.Source, string(a.Tags)} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

func decodeAnnotation(b []byte) (a metric.Annotation, err error) {
	if len(b) < 2 || b[0] != formatAnnotation || b[1] > 1 {
		return a, fmt.Errorf("an annotation that begins with %.2x; this version reads 0x%02x", b, formatAnnotation)
	}
	a.Check = b[1] == 1
	at := 2
	sec, n := binary.Uvarint(b[at:])
	if n <= 0 || sec > uint64(metric.MaxSec) {
		return a, fmt.Errorf("annotation of %d bytes: bad time at offset %d", len(b), at)
	}
	a.Time = metric.UnixSec(sec)
	at += n
	var tags string
	for _, s := range []*string{&a.Title, &a.Text, &a.Status, &a.Priority, &a.Host, &a.Key, &a.Source, &tags} {
		size, n := binary.Uvarint(b[at:])
		if n <= 0 || size > uint64(len(b)-at-n) {
			return a, fmt.Errorf("annotation of %d bytes: bad length at offset %d", len(b), at)
		}
		*s = string(b[at+n : at+n+int(size)])
		at += n + int(size)
	}
	if at != len(b) {
		return a, fmt.Errorf("annotation of %d bytes: ends at offset %d", len(b), at)
	}
	a.Tags, err = metric.DecodeTagset([]byte(tags))
	return a, err
}

// Annotations returns the annotations that are kept, the oldest first.
func (s *Store) Annotations() (list []metric.Annotation, err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixAnnotation}, UpperBound: []byte{prefixAnnotation + 1}})
	if err != nil {
		return nil, fmt.Errorf("read annotations: %w", err)
	}
	defer func() {
		if e := errors.Join(iter.Error(), iter.Close()); err == nil && e != nil {
			err = fmt.Errorf("read annotations: %w", e)
		}
	}()
	for ok := iter.First(); ok; ok = iter.Next() {
		v, err := iter.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("read annotations: %w", err)
		}
		a, err := decodeAnnotation(v)
		if err != nil {
			return nil, fmt.Errorf("key %x: %w", iter.Key(), err)
		}
		list = append(list, a)
	}
	return list, nil
}

// readAnnotations finds the number of the next annotation.
func (s *Store) readAnnotations() error {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixAnnotation}, UpperBound: []byte{prefixAnnotation + 1}})
	if err != nil {
		return fmt.Errorf("read annotations: %w", err)
	}
	if iter.Last() {
		if key := iter.Key(); len(key) == 9 {
			s.annotations = binary.BigEndian.Uint64(key[1:]) + 1
		}
	}
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return fmt.Errorf("read annotations: %w", err)
	}
	return nil
}
