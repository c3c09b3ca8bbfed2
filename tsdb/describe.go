package tsdb

import (
	"fmt"
	"maps"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// Bounds on what is kept of the meaning of metrics, which is in memory too.
const (
	MaxDescribed   = 10_000 // metrics
	MaxDescription = 1_000  // bytes
	MaxUnit        = 32     // bytes
)

// Description is what somebody has written about a metric. It stays when the metric has no series
// any more, and may come again.
type Description struct{ Text, Unit string }

// ErrManyDescribed is returned where one more would be too many.
var ErrManyDescribed = fmt.Errorf("%d metrics have a description or a unit, and no more are kept; take those of another away first", MaxDescribed)

// formatDescription is the first byte of the value of a description:
//
//	key      19  kind(1)  name(…)
//	byte     format: 01
//	uvarint  length of the text
//	bytes    the text
//	uvarint  length of the unit
//	bytes    the unit
const formatDescription = 0x01

func descriptionKey(id metric.ID) []byte {
	return append([]byte{prefixDescribed, byte(id.Kind)}, id.Name...)
}

func (d Description) value() []byte {
	return appendText(appendText([]byte{formatDescription}, d.Text), d.Unit)
}

func decodeDescription(key, value []byte) (id metric.ID, d Description, err error) {
	if len(key) < 3 || !metric.Kind(key[1]).Valid() || len(value) == 0 || value[0] != formatDescription {
		return id, d, fmt.Errorf("key %x is no description: %.2x; this version reads 0x%02x", key, value, formatDescription)
	}
	id = metric.ID{Kind: metric.Kind(key[1]), Name: string(key[2:])}
	r := numbers{b: value, at: 1}
	d = Description{r.text(), r.text()}
	return id, d, r.end("description")
}

// Descriptions returns what is written about metrics. The map is the caller's.
func (s *Store) Descriptions() map[metric.ID]Description {
	s.documents.mu.RLock()
	defer s.documents.mu.RUnlock()
	return maps.Clone(s.documents.described)
}

// Describe keeps what is written about a metric, instead of what was; the zero Description:
// nothing is.
func (s *Store) Describe(id metric.ID, d Description) error {
	if len(d.Text) > MaxDescription || len(d.Unit) > MaxUnit {
		return fmt.Errorf("a description has %d bytes at most, and a unit %d", MaxDescription, MaxUnit)
	}
	docs := &s.documents
	done, err := docs.write()
	if err != nil {
		return err
	}
	defer done()
	docs.mu.RLock()
	_, had := docs.described[id]
	n := len(docs.described)
	docs.mu.RUnlock()
	if !had && n >= MaxDescribed && d != (Description{}) {
		return ErrManyDescribed
	}
	err = s.commitDocument(func(b *pebble.Batch) error {
		if d == (Description{}) {
			return b.Delete(descriptionKey(id), nil)
		}
		return b.Set(descriptionKey(id), d.value(), nil)
	})
	if err != nil {
		return err
	}
	docs.mu.Lock()
	defer docs.mu.Unlock()
	if delete(docs.described, id); d != (Description{}) {
		docs.described[id] = d
	}
	return nil
}
