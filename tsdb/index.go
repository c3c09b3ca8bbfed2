package tsdb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"cairn/internal/metric"
)

// Ref names a stored series. The zero Ref names none.
type Ref struct{ metric, series uint32 }

// index holds all metrics and series in memory. Numbers count up from 1.
type index struct {
	mu       sync.RWMutex // guards all below
	byID     map[metric.ID]*indexed
	order    []*indexed       // by metric number - 1
	tags     []metric.Tagset  // by series number - 1
	metricOf []uint32         // by series number - 1: the metric's number; 0: no such series
	series   *metric.TagIndex // of series numbers - 1
}

type indexed struct {
	id       metric.ID
	no       uint32
	lastSeen metric.UnixSec
	series   []uint32 // numbers, ascending
}

// Selected is a series that a Select returned.
type Selected struct {
	Ref  Ref
	Tags metric.Tagset
}

// MetricInfo describes a stored metric.
type MetricInfo struct {
	ID       metric.ID
	Series   int
	LastSeen metric.UnixSec // the latest bucket with an event
	Overflow bool           // it has an overflow series
}

func newIndex() *index {
	return &index{byID: make(map[metric.ID]*indexed), series: metric.NewTagIndex()}
}

func (x *index) addMetric(id metric.ID, no uint32) {
	m := &indexed{id: id, no: no}
	x.byID[id] = m
	x.order = append(x.order, m)
}

// addSeries adds a series with a number that is above 0 and not in use.
func (x *index) addSeries(m *indexed, tags metric.Tagset, no uint32) {
	for uint32(len(x.tags)) < no {
		x.tags = append(x.tags, "")
		x.metricOf = append(x.metricOf, 0)
	}
	x.tags[no-1], x.metricOf[no-1] = tags, m.no
	m.series = append(m.series, no)
	x.series.Put(no-1, x.keys)
}

func (x *index) keys(i uint32) (uint32, metric.Tagset) { return x.metricOf[i], x.tags[i] }

// find returns the number of a series.
func (x *index) find(m *indexed, tags metric.Tagset) (no uint32, ok bool) {
	i, ok := x.series.Find(m.no, tags, x.keys)
	return i + 1, ok
}

// load reads the index out of a store.
func (x *index) load(db *pebble.DB) error {
	iter, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixMetric}, UpperBound: []byte{prefixSeries + 1}})
	if err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		v, err := iter.ValueAndErr()
		if err == nil {
			err = x.loadEntry(iter.Key(), v)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("read the index at key %x: %w", iter.Key(), err), iter.Close())
		}
	}
	if err := errors.Join(iter.Error(), iter.Close()); err != nil {
		return fmt.Errorf("read the index: %w", err)
	}
	return nil
}

func (x *index) loadEntry(key, v []byte) error {
	if len(key) < 5 {
		return errors.New("the key is too short")
	}
	no := binary.BigEndian.Uint32(key[1:])
	if key[0] == prefixMetric {
		if len(v) < 1 || !metric.Kind(v[0]).Valid() || int(no) != len(x.order)+1 {
			return errors.New("not a metric's entry")
		}
		x.addMetric(metric.ID{Kind: metric.Kind(v[0]), Name: string(v[1:])}, no)
		return nil
	}
	if no == 0 || int(no) > len(x.order) {
		return fmt.Errorf("metric %d is not in the index", no)
	}
	m := x.order[no-1]
	switch {
	case key[0] == prefixLastSeen:
		sec, n := binary.Uvarint(v)
		if n <= 0 {
			return errors.New("not a time")
		}
		m.lastSeen = metric.UnixSec(sec)
	case len(key) == 9:
		tags, err := metric.DecodeTagset(v)
		if err != nil {
			return err
		}
		s := binary.BigEndian.Uint32(key[5:])
		if s == 0 || uint32(len(x.tags)) >= s && x.metricOf[s-1] != 0 {
			return fmt.Errorf("series %d is there twice", s)
		}
		x.addSeries(m, tags, s)
	default:
		return errors.New("not a series' entry")
	}
	return nil
}

// Metrics describes all stored metrics, in no order.
func (s *Store) Metrics() []MetricInfo {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	out := make([]MetricInfo, len(s.index.order))
	for i, m := range s.index.order {
		_, overflow := s.index.find(m, metric.OverflowTags)
		out[i] = MetricInfo{ID: m.id, Series: len(m.series), LastSeen: m.lastSeen, Overflow: overflow}
	}
	return out
}

// Known reports whether a metric was ever stored.
func (s *Store) Known(id metric.ID) bool {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.index.byID[id] != nil
}

// Lookup returns the Ref of a series; ok is false if it was never stored.
func (s *Store) Lookup(series metric.Series) (r Ref, ok bool) {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	m := s.index.byID[series.ID]
	if m == nil {
		return Ref{}, false
	}
	no, ok := s.index.find(m, series.Tags)
	return Ref{m.no, no}, ok
}

// Select returns the stored series of a metric whose tagsets match, in the order
// in which Snapshot.Scan wants them.
func (s *Store) Select(id metric.ID, match func(metric.Tagset) bool) []Selected {
	s.index.mu.RLock()
	m := s.index.byID[id]
	var numbers []uint32
	tags := s.index.tags // those that there are do not change
	if m != nil {
		numbers = m.series[:len(m.series):len(m.series)]
	}
	s.index.mu.RUnlock()
	var out []Selected
	for _, no := range numbers {
		if ts := tags[no-1]; match(ts) {
			out = append(out, Selected{Ref{m.no, no}, ts})
		}
	}
	return out
}
