package tsdb

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
	"cairn/internal/mutant"
)

// A record of a deletion says, of a metric, up to where the journal may tell of what is not
// in the store any more, because somebody deleted it:
//
//	key      16  kind(1)  name(…)
//	uvarint  cut: the journal's end then
//	uvarint  Unix second
//
// A later deletion of the metric takes the place of an earlier one. The key without kind
// and name is that of all metrics whose record was forgotten.
type deletedBelow struct {
	id  metric.ID // the zero ID: any
	cut uint64
	at  metric.UnixSec
}

// maxRecords bounds them, and what a reconciliation holds in memory. Beyond, the one with the
// lowest cut is forgotten: the journal is the first to let go of what it is about.
const maxRecords = 1000

func recordKey(id metric.ID) []byte {
	if id == (metric.ID{}) {
		return []byte{prefixDeleted}
	}
	return append([]byte{prefixDeleted, byte(id.Kind)}, id.Name...)
}

func (d *deletedBelow) value() []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, d.cut), uint64(d.at))
}

func decodeRecord(key, value []byte) (d deletedBelow, err error) {
	if len(key) > 1 {
		d.id = metric.ID{Kind: metric.Kind(key[1]), Name: string(key[2:])}
		if !d.id.Kind.Valid() || d.id.Name == "" {
			return d, fmt.Errorf("key %x is no record of a deletion", key)
		}
	}
	r := numbers{b: value}
	d.cut, d.at = r.uvarint(), metric.UnixSec(r.uvarint())
	return d, r.end("record of a deletion")
}

func (sn *Snapshot) walkDeleted(ctx context.Context, visit func(deletedBelow)) error {
	return sn.walk(ctx, []byte{prefixDeleted}, []byte{prefixDeleted + 1}, func(iter *pebble.Iterator) error {
		v, err := iter.ValueAndErr()
		if err != nil {
			return err
		}
		d, err := decodeRecord(iter.Key(), v)
		if err != nil {
			return err
		}
		visit(d)
		return nil
	})
}

// DeletedBelow returns a function that tells, of a metric, below which position of the journal
// a record may be of something that was deleted; ok is false if nothing was.
func (sn *Snapshot) DeletedBelow(ctx context.Context) (func(metric.ID) (cut uint64, ok bool), error) {
	cuts := make(map[metric.ID]uint64)
	if err := sn.walkDeleted(ctx, func(d deletedBelow) { cuts[d.id] = d.cut }); err != nil {
		return nil, fmt.Errorf("read what was deleted: %w", err)
	}
	forgotten, any := cuts[metric.ID{}]
	return func(id metric.ID) (uint64, bool) {
		cut, ok := cuts[id]
		return max(cut, forgotten), ok || any
	}, nil
}

// crowdedOut returns the records that are to be forgotten, so that one of id has room.
func (sn *Snapshot) crowdedOut(ctx context.Context, id metric.ID) (out []deletedBelow, err error) {
	err = sn.walkDeleted(ctx, func(d deletedBelow) {
		if d.id != id && d.id != (metric.ID{}) {
			out = append(out, d)
		}
	})
	slices.SortFunc(out, func(x, y deletedBelow) int { return cmp.Compare(x.cut, y.cut) })
	return out[:max(0, len(out)+1-maxRecords)], err
}

// writeRecord writes the record of a deletion.
func (d *deletion) writeRecord(w pebbleBatch) error {
	for i := range d.forgotten {
		if err := w.Delete(recordKey(d.forgotten[i].id)); err != nil {
			return err
		}
	}
	if n := len(d.forgotten); n > 0 {
		// Cuts only grow, so the last is above what was forgotten before.
		if err := w.Set(recordKey(metric.ID{}), d.forgotten[n-1].value()); err != nil {
			return err
		}
	}
	if mutant.On("deletion-not-recorded") {
		return nil
	}
	return w.Set(recordKey(d.record.id), d.record.value())
}
