package tsdb

import (
	"cmp"
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"unsafe"

	"github.com/RoaringBitmap/roaring/v2"

	"cairn/internal/matcher"
	"cairn/internal/metric"
)

// Select returns the stored series of a metric whose tagsets match, in the order
// in which Snapshot.Scan wants them: by number.
func (s *Store) Select(id metric.ID, match matcher.List) []Selected {
	out, _ := s.SelectContext(context.Background(), id, match) // which never ends
	return out
}

// SelectContext is Select, which ends early with ctx's error: a regular expression may take
// long over many values. The index is not locked for longer than SelectNow does.
func (s *Store) SelectContext(ctx context.Context, id metric.ID, match matcher.List) ([]Selected, error) {
	for {
		out, err := s.SelectNow(ctx, id, match)
		u, ok := err.(*Undecided)
		if !ok {
			return out, err
		}
		if err := u.Decide(ctx); err != nil {
			return nil, err
		}
	}
}

// SelectNow is SelectContext for who keeps others waiting: where regular expressions have much
// to do, it returns an *Undecided.
func (s *Store) SelectNow(ctx context.Context, id metric.ID, match matcher.List) ([]Selected, error) {
	x := s.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	m := x.byID[id]
	if m == nil {
		return nil, ctx.Err()
	}
	d := decider{ctx: ctx, x: x, left: s.nowSteps}
	numbers := x.match(&d, m, match)
	switch err := ctx.Err(); {
	case err != nil:
		return nil, err
	case d.f != nil:
		return nil, &Undecided{x, d.f, x.era, d.undecided}
	}
	return x.selected(m, numbers), nil
}

// LastSeen returns the latest second of a metric with an event; 0: none is stored.
func (s *Store) LastSeen(id metric.ID) metric.UnixSec {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	if m := s.index.byID[id]; m != nil {
		return m.lastSeen
	}
	return 0
}

// IDs returns all metrics, in no order.
func (s *Store) IDs() []metric.ID {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return slices.Collect(maps.Keys(s.index.byID))
}

// TagCounts calls visit with each tag of a metric's series, and how many have it.
func (s *Store) TagCounts(id metric.ID, visit func(t metric.Tag, series int)) {
	x := s.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	m := x.byID[id]
	if m == nil {
		return
	}
	for k, p := range m.keys {
		key := x.dict.keys[k].name
		for pair := range p.of {
			visit(metric.Tag{Key: key, Value: string(x.dict.value(pair))}, p.count(pair))
		}
	}
}

// Part returns up to n stored series of a metric, from place from on in their order.
func (s *Store) Part(id metric.ID, from, n int) []Selected {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	m := s.index.byID[id]
	if m == nil || from < 0 {
		return nil
	}
	to := min(from+n, m.series.len())
	var numbers []uint32
	for ; from < to; from++ {
		if m.series.many == nil {
			numbers = append(numbers, m.series.few[from])
			continue
		}
		no, err := m.series.many.Select(uint32(from))
		if err != nil {
			break // there are no more
		}
		numbers = append(numbers, no)
	}
	return s.index.selected(m, numbers)
}

// KeyCardinality is how many series of a metric have a tag key, and how many values
// it has on them.
type KeyCardinality struct {
	Key            string
	Series, Values int
}

// Cardinality returns how many series a metric has, and its tag keys by name. It costs
// the same however many series there are.
func (s *Store) Cardinality(id metric.ID) (series int, keys []KeyCardinality) {
	x := s.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	m := x.byID[id]
	if m == nil {
		return 0, nil
	}
	for k, p := range m.keys {
		keys = append(keys, KeyCardinality{x.dict.keys[k].name, p.series, len(p.of)})
	}
	slices.SortFunc(keys, func(a, b KeyCardinality) int { return cmp.Compare(a.Key, b.Key) })
	return m.series.len(), keys
}

// ValueCardinality returns how many series of a metric have a tag.
func (s *Store) ValueCardinality(id metric.ID, t metric.Tag) int {
	x := s.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	m := x.byID[id]
	pair, ok := x.dict.find(string(metric.NewTagset([]metric.Tag{t})))
	if m == nil || !ok {
		return 0
	}
	if p := m.keys[x.dict.keyOf[pair]]; p != nil {
		return p.count(pair)
	}
	return 0
}

// tagsetText is how much room for the tagsets of an answer is made at a time.
const tagsetText = 64 << 10

// selected puts the tagsets of series together again.
func (x *index) selected(m *indexed, numbers []uint32) []Selected {
	if len(numbers) == 0 {
		return nil
	}
	out := make([]Selected, len(numbers))
	var text []byte
	room := tagsetText
	if len(numbers) < 64 {
		room = 0
	}
	for i, no := range numbers {
		size := 0
		pairs := x.pairs(no)
		for _, p := range pairs {
			size += len(x.dict.pair(p))
		}
		if cap(text)-len(text) < size {
			text = make([]byte, 0, max(size, min(room, (len(numbers)-i)*(size+size/8)))) // most are about as long
		}
		at := len(text)
		for _, p := range pairs {
			text = append(text, x.dict.pair(p)...)
		}
		out[i].Ref = Ref{m.no, no}
		if size > 0 {
			out[i].Tags = metric.Tagset(unsafe.String(&text[at], size)) // nothing is written there again
		}
	}
	return out
}

// match returns the numbers of a metric's series that match. Matchers that name their
// values come first: they cost one look-up and leave little to the others. Once d has ended, or has
// undecided values, they may be others.
func (x *index) match(d *decider, m *indexed, match matcher.List) []uint32 {
	ordered := slices.Clone(match)
	slices.SortStableFunc(ordered, func(a, b *matcher.Matcher) int { return cmp.Compare(cost(a), cost(b)) })
	var acc *roaring.Bitmap // nil: all of the metric
	for _, f := range ordered {
		if d.f != nil {
			break // what comes next depends on it
		}
		p := x.postingsOf(m, f.Key)
		if n := m.series.len(); acc != nil || n <= maxFew {
			if acc != nil {
				n = int(acc.GetCardinality())
			}
			if _, named := f.Literals(); !named && p != nil && n < len(p.of)/4 || n <= maxFew {
				acc = x.filter(d, m, acc, f)
				continue
			}
		}
		acc = x.narrow(d, m, acc, f, p)
	}
	if acc == nil {
		return m.series.numbers()
	}
	return acc.ToArray()
}

func cost(f *matcher.Matcher) int {
	_, named := f.Literals()
	switch {
	case named && !f.Not:
		return 0
	case named:
		return 1
	}
	return 2
}

// filter asks the matcher for each series that is left.
func (x *index) filter(d *decider, m *indexed, acc *roaring.Bitmap, f *matcher.Matcher) *roaring.Bitmap {
	left := m.series.numbers()
	if acc != nil {
		left = acc.ToArray()
	}
	out := roaring.New()
	key, known := x.dict.keyNo[f.Key]
	missing := f.MissingIsEmpty && f.MatchValue("")
	for _, no := range left {
		if d.ended() {
			break
		}
		matched, has := false, false
		for _, pair := range x.pairs(no) {
			if known && x.dict.keyOf[pair] == key {
				has = true
				matched = matched || d.matches(f, pair)
			}
		}
		if matched = matched || !has && missing; matched != f.Not {
			out.Add(no)
		}
	}
	return out
}

// narrow keeps of acc what the matcher lets pass. p is the key's; nil: no series has it.
func (x *index) narrow(d *decider, m *indexed, acc *roaring.Bitmap, f *matcher.Matcher, p *postings) *roaring.Bitmap {
	missing := f.MissingIsEmpty && f.MatchValue("") // those without the key match
	has := 0
	if p != nil {
		has = p.series
	}
	every := f.Every() && (missing || has == m.series.len())
	switch {
	case every && f.Not:
		return roaring.New()
	case every:
		return acc
	}
	matched := roaring.New()
	if p != nil {
		matched = x.matching(d, p, f)
	}
	if missing && has < m.series.len() {
		without := m.series.bitmap()
		if p != nil {
			without.AndNot(x.having(p))
		}
		matched.Or(without)
	}
	switch {
	case acc == nil && f.Not:
		acc = m.series.bitmap()
		acc.AndNot(matched)
	case acc == nil:
		acc = matched
	case f.Not:
		acc.AndNot(matched)
	default:
		acc.And(matched)
	}
	return acc
}

// bitmap returns the numbers in a bitmap that is the caller's.
func (l *list) bitmap() *roaring.Bitmap {
	if l.many != nil {
		return l.many.Clone()
	}
	return roaring.BitmapOf(l.few...)
}

// having returns the series that have the key.
func (x *index) having(p *postings) *roaring.Bitmap {
	var u union
	for _, have := range p.of {
		u.add(p, have)
	}
	return u.bitmap()
}

// matching returns the series with a value that matches.
func (x *index) matching(d *decider, p *postings, f *matcher.Matcher) *roaring.Bitmap {
	var u union
	if values, ok := f.Literals(); ok {
		var pair []byte
		for _, v := range values {
			pair = binary.AppendUvarint(pair[:0], uint64(len(f.Key)))
			pair = append(pair, f.Key...)
			pair = binary.AppendUvarint(pair, uint64(len(v)))
			pair = append(pair, v...)
			if no, ok := x.dict.find(asString(pair)); ok {
				if have, ok := p.of[no]; ok {
					u.add(p, have)
				}
			}
		}
		return u.bitmap()
	}
	for pair, have := range p.of {
		if d.ended() {
			break
		}
		if d.matches(f, pair) {
			u.add(p, have)
		}
	}
	return u.bitmap()
}

// postingsOf returns those of a key; nil: no series of the metric has it.
func (x *index) postingsOf(m *indexed, key string) *postings {
	no, ok := x.dict.keyNo[key]
	if !ok {
		return nil
	}
	return m.keys[no]
}

// asString is for a look at bytes that do not change meanwhile.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
