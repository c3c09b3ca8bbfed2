package tsdb

import (
	"sync"

	"cairn/internal/metric"
)

// Ref names a stored series. The zero Ref names none.
type Ref struct{ metric, series uint32 }

// Number returns a number that no other series has that is in the store: they are dense,
// above 0, and used again once a series was removed.
func (r Ref) Number() uint32 { return r.series }

// index holds all metrics and series in memory. Numbers count up from 1; those of
// series and metrics that were removed are used again (numbers.go).
//
// A series is its metric and the numbers of its tag pairs, in the order of its tagset:
//
//	words: ... | count | pair ... pair | ...     start[series-1] is the place of count
type index struct {
	mu        sync.RWMutex // guards all below
	byID      map[metric.ID]*indexed
	order     []*indexed // by metric number - 1; nil: no such metric
	dict      dictionary
	words     []uint32
	deadWords int
	start     []uint32 // by series number - 1
	metricOf  []uint32 // by series number - 1: the metric's number; 0: no such series
	cells     cells    // of series numbers, by metric and pairs
	metricNos numbering
	seriesNos numbering
	era       *era
}

type indexed struct {
	id       metric.ID
	no       uint32
	lastSeen metric.UnixSec
	series   list
	keys     map[uint32]*postings // by number of the key
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
	return &index{byID: make(map[metric.ID]*indexed), dict: newDictionary(), era: new(era)}
}

// addMetric adds a metric with a number that is above 0 and not in use.
func (x *index) addMetric(id metric.ID, no uint32) {
	for uint32(len(x.order)) < no {
		x.order = append(x.order, nil)
	}
	m := &indexed{id: id, no: no, keys: make(map[uint32]*postings)}
	x.byID[id] = m
	x.order[no-1] = m
}

// metric returns the metric with a number, or nil.
func (x *index) metric(no uint32) *indexed {
	if no == 0 || no > uint32(len(x.order)) {
		return nil
	}
	return x.order[no-1]
}

// has reports whether there is a series with a number.
func (x *index) has(r Ref) bool {
	return r.series != 0 && r.series <= uint32(len(x.metricOf)) && r.metric != 0 && x.metricOf[r.series-1] == r.metric
}

// addSeries adds a series with a number that is above 0 and not in use.
func (x *index) addSeries(m *indexed, tags metric.Tagset, no uint32) {
	for uint32(len(x.start)) < no {
		x.start, x.metricOf = append(x.start, 0), append(x.metricOf, 0)
	}
	at := len(x.words)
	x.start[no-1], x.metricOf[no-1] = uint32(at), m.no
	x.words = append(x.words, 0)
	last := ^uint32(0)
	for rest := string(tags); rest != ""; {
		var pair, key string
		pair, key, _, rest = cutPair(rest)
		p := x.dict.use(pair, key)
		x.words = append(x.words, p)
		k := x.dict.keyOf[p]
		ps := m.keys[k]
		if ps == nil {
			ps = &postings{of: make(map[uint32]posting)}
			m.keys[k] = ps
		}
		if k != last { // a key's pairs stand together
			ps.series++
			last = k
		}
		ps.add(p, no)
	}
	x.words[at] = uint32(len(x.words) - at - 1)
	m.series.add(no)
	x.cells.put(hashSeries(m.no, x.words[at+1:]), no-1, x.hashOf)
}

// removeSeries removes a series that is there.
func (x *index) removeSeries(r Ref) {
	m := x.order[r.metric-1]
	pairs := x.pairs(r.series)
	x.cells.remove(hashSeries(r.metric, pairs), r.series-1, x.hashOf)
	last := ^uint32(0)
	for _, p := range pairs {
		k := x.dict.keyOf[p]
		ps := m.keys[k]
		if k != last {
			ps.series--
			last = k
		}
		ps.remove(p, r.series)
		if len(ps.of) == 0 {
			delete(m.keys, k)
		}
		x.dict.leave(p)
	}
	m.series.remove(r.series)
	x.metricOf[r.series-1] = 0
	x.deadWords += len(pairs) + 1
}

// removeMetric removes a metric that has no series.
func (x *index) removeMetric(no uint32) {
	delete(x.byID, x.order[no-1].id)
	x.order[no-1] = nil
}

// compact gives back what removed series take, once that is most of it.
func (x *index) compact() {
	x.dict.compact()
	if x.deadWords < 1<<16 || x.deadWords < len(x.words)/2 {
		return
	}
	words := make([]uint32, 0, len(x.words)-x.deadWords)
	for i, m := range x.metricOf {
		if m == 0 {
			continue
		}
		pairs := x.pairs(uint32(i) + 1)
		x.start[i] = uint32(len(words))
		words = append(append(words, uint32(len(pairs))), pairs...)
	}
	x.words, x.deadWords = words, 0
}

// pairs returns the pairs of a series.
func (x *index) pairs(no uint32) []uint32 {
	at := x.start[no-1]
	return x.words[at+1 : at+1+x.words[at]]
}

// hashSeries mixes numbers that the seed of the dictionary has nothing to do with, but
// no sender chooses: they count up with what comes first.
func hashSeries(metricNo uint32, pairs []uint32) uint64 {
	h := uint64(metricNo) * 0x9e3779b97f4a7c15
	for _, p := range pairs {
		h = (h ^ uint64(p)) * 0xff51afd7ed558ccd
		h ^= h >> 32
	}
	return h ^ h>>29
}

func (x *index) hashOf(i uint32) uint64 { return hashSeries(x.metricOf[i], x.pairs(i+1)) }

// find returns the number of a series.
func (x *index) find(m *indexed, tags metric.Tagset) (no uint32, ok bool) {
	var room [16]uint32
	pairs := room[:0]
	for rest := string(tags); rest != ""; {
		var pair string
		pair, _, _, rest = cutPair(rest)
		p, ok := x.dict.find(pair)
		if !ok {
			return 0, false
		}
		pairs = append(pairs, p)
	}
	i, ok := x.cells.find(hashSeries(m.no, pairs), func(i uint32) bool {
		if x.metricOf[i] != m.no {
			return false
		}
		have := x.pairs(i + 1)
		if len(have) != len(pairs) {
			return false
		}
		for j := range have {
			if have[j] != pairs[j] {
				return false
			}
		}
		return true
	})
	return i + 1, ok
}

// Metrics describes all stored metrics, in no order.
func (s *Store) Metrics() []MetricInfo {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	out := make([]MetricInfo, 0, len(s.index.byID))
	for _, m := range s.index.byID {
		_, overflow := s.index.find(m, metric.OverflowTags)
		out = append(out, MetricInfo{ID: m.id, Series: m.series.len(), LastSeen: m.lastSeen, Overflow: overflow})
	}
	return out
}

// Known reports whether a metric is stored.
func (s *Store) Known(id metric.ID) bool {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.index.byID[id] != nil
}

// Lookup returns the Ref of a series; ok is false if it is not stored.
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
