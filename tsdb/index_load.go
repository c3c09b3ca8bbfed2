package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// An index is loaded by two goroutines: one reads and checks what is on disk, the
// other one puts it in its place. loadAhead parts of loadEntries entries are between
// them at most: about a megabyte.
const (
	loadEntries = 4096
	loadAhead   = 3
)

// entries is a part of the index on disk.
type entries struct {
	list []entry
	text string // all values, one behind the other
}

type entry struct {
	prefix         byte
	metric, series uint32
	end            int // of its value in text
}

// load reads the index out of a store.
func (x *index) load(db *pebble.DB) error {
	parts, stop := make(chan entries, loadAhead), make(chan struct{})
	var read error // written before parts is closed
	go func() {
		defer close(parts)
		read = readIndex(db, func(e entries) bool {
			select {
			case parts <- e:
				return true
			case <-stop:
				return false
			}
		})
	}()
	var err error
	for part := range parts {
		if err == nil {
			if err = x.loadPart(part); err != nil {
				close(stop)
			}
		}
	}
	if err = errors.Join(err, read); err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	x.metricNos.load(len(x.order), func(i int) bool { return x.order[i] != nil })
	x.seriesNos.load(len(x.metricOf), func(i int) bool { return x.metricOf[i] != 0 })
	return nil
}

// readIndex gives put the index in the order of its keys, until it returns false.
func readIndex(db *pebble.DB, put func(entries) bool) error {
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixMetric}, UpperBound: []byte{prefixSeries + 1}})
	if err != nil {
		return err
	}
	var part entries
	var text []byte
	more := true
	flush := func() error {
		part.text = string(text)
		at := 0
		for _, e := range part.list {
			if e.prefix == prefixSeries {
				if _, err := metric.ParseTagset(part.text[at:e.end]); err != nil {
					return fmt.Errorf("key %x: %w", seriesKey(e.metric, e.series), err)
				}
			}
			at = e.end
		}
		more = put(part)
		part, text = entries{list: make([]entry, 0, loadEntries)}, text[:0]
		return nil
	}
	for ok := iter.First(); ok && more && err == nil; ok = iter.Next() {
		key := iter.Key()
		e := entry{prefix: key[0]}
		switch {
		case len(key) == 5 && e.prefix != prefixSeries:
			e.metric = binary.BigEndian.Uint32(key[1:])
		case len(key) == 9 && e.prefix == prefixSeries:
			e.metric, e.series = binary.BigEndian.Uint32(key[1:]), binary.BigEndian.Uint32(key[5:])
		default:
			err = fmt.Errorf("key %x: it has %d bytes; metrics' have 5 and series' 9", key, len(key))
			continue
		}
		var v []byte
		if v, err = iter.ValueAndErr(); err != nil {
			err = fmt.Errorf("key %x: %w", key, err)
			continue
		}
		text = append(text, v...)
		e.end = len(text)
		if part.list = append(part.list, e); len(part.list) == loadEntries {
			err = flush()
		}
	}
	if err == nil && more {
		err = flush()
	}
	return errors.Join(err, iter.Error(), iter.Close())
}

func (x *index) loadPart(part entries) error {
	at := 0
	for _, e := range part.list {
		if err := x.loadEntry(e, part.text[at:e.end]); err != nil {
			key := metricKey(e.prefix, e.metric)
			if e.prefix == prefixSeries {
				key = seriesKey(e.metric, e.series)
			}
			return fmt.Errorf("key %x: %w; it is damaged: check the disk, and restore a backup with 'cairn restore'", key, err)
		}
		at = e.end
	}
	return nil
}

func (x *index) loadEntry(e entry, v string) error {
	m := x.metric(e.metric)
	switch e.prefix {
	case prefixMetric:
		if len(v) < 1 || !metric.Kind(v[0]).Valid() || e.metric == 0 {
			return errors.New("not a metric's entry")
		}
		if e.metric > uint32(len(x.order))+maxMetricGap {
			return fmt.Errorf("metric %d follows metric %d: more numbers are unused than there can be", e.metric, len(x.order))
		}
		// The name is copied: the rest of the part is not kept with it.
		id := metric.ID{Kind: metric.Kind(v[0]), Name: string([]byte(v[1:]))}
		if x.byID[id] != nil {
			return fmt.Errorf("the metric %q is there twice", id.Name)
		}
		x.addMetric(id, e.metric)
	case prefixLastSeen:
		if m == nil {
			return fmt.Errorf("metric %d is not in the index", e.metric)
		}
		sec, n := binary.Uvarint([]byte(v))
		if n <= 0 {
			return errors.New("not a time")
		}
		m.lastSeen = metric.UnixSec(sec)
	default:
		switch {
		case m == nil:
			return fmt.Errorf("metric %d is not in the index", e.metric)
		case e.series == 0 || e.series > maxSeries:
			return fmt.Errorf("series numbers are from 1 to %d", maxSeries)
		case e.series <= uint32(len(x.metricOf)) && x.metricOf[e.series-1] != 0:
			return fmt.Errorf("series %d is there twice", e.series)
		case e.series > uint32(len(x.metricOf))+maxSeriesGap:
			return fmt.Errorf("series %d comes when the highest is %d: more numbers are unused than there can be", e.series, len(x.metricOf))
		}
		x.addSeries(m, metric.Tagset(v), e.series)
	}
	return nil
}

// They bound what a damaged number costs: lists by number are made. Numbers are used again, the
// smallest first, so that they are dense; but those of a metric's series lie between those
// of metrics that are read later.
const (
	maxMetricGap = 16 << 20
	maxSeriesGap = 64 << 20 // 8 bytes each
)
