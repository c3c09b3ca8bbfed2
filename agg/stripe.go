package agg

import (
	"math"
	"sync"
	"sync/atomic"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// Raw is one event as its line has it. Offsets are into the batch of bytes that
// is handed to Stripe.Add with it.
type Raw struct {
	Bits    uint64         // the number, not yet weighted, as math.Float64bits; of a set: the member's hash
	Sec     metric.UnixSec // the second the line names; 0: the second of arrival
	Name    uint32         // offset of the metric's name
	Rest    uint32         // offset of what follows the value: type, rate, tags
	NameLen uint16
	RestLen uint16
	Op      Op
	Reason  metric.Reason // set by Add
	hash    uint64
}

// Op says what a gauge's number does. It means nothing for other kinds.
type Op uint8

const (
	Reading Op = iota // is a reading, on its own
	Assign            // is a reading, and the level that later Adjust events start from
	Adjust            // is added to the level of the series; the sum is the reading
)

// Weight is what one event stands for: Num / Den of itself. A sample rate of 0.3
// is {10, 3}: kept as a fraction, so that three events of 1 add exactly 10.
type Weight struct{ Num, Den float64 }

// Of returns v weighted.
func (w Weight) Of(v float64) float64 {
	if w.Den == 1 {
		return v * w.Num
	}
	return v * w.Num / w.Den
}

// Resolution is what a Resolver reads out of a key.
type Resolution struct {
	Series metric.Series
	Weight Weight
	// Sec is a timestamp inside rest; it makes the key one that is not worth
	// remembering. 0: none.
	Sec metric.UnixSec
	// TimeIgnored says that rest holds a timestamp that means nothing for the
	// kind. Such a key is not remembered either, so that each event is counted
	// among the warnings.
	TimeIgnored bool
}

// A Resolver parses the bytes of a key that a stripe sees for the first time. It
// must not keep name or rest. now is the second of arrival.
type Resolver func(name, rest []byte, now metric.UnixSec) (Resolution, metric.Reason)

// aliasesPerSeries bounds the raw keys a stripe remembers, as a multiple of the limit
// on series: a client that orders tags at random would otherwise fill memory.
// Keys beyond it are parsed every time.
const aliasesPerSeries = 4

// maxPartials is the default bound on the list entries of one stripe, 16 bytes
// each: 1 GiB.
const maxPartials = 64 << 20

// maxWeights bounds the different sample rates that a stripe remembers.
const maxWeights = 1 << 12

// slot is a series' current second.
type slot struct {
	sec uint32  // Unix seconds; 32 bits last until 2106
	n   uint32  // events in it; 0: the slot is empty
	sum float64 // of a counter; other kinds have a bucket
}

// how is what an alias does with its events' numbers: the kind and an index into
// Stripe.weights. It is 0 for a counter that weighs 1, which is the most common.
type how uint32

const weightBits = 30

func howOf(k metric.Kind, weight uint32) how { return how(k-metric.Counter)<<weightBits | how(weight) }

func (h how) kind() metric.Kind { return metric.Counter + metric.Kind(h>>weightBits) }
func (h how) weight() uint32    { return uint32(h) & (1<<weightBits - 1) }

// Stripe is one of the independent tables. Its owner locks it for a batch.
type Stripe struct {
	registry *Registry
	resolve  Resolver

	mu         sync.Mutex // guards all below
	table      table
	weights    []Weight
	weightOf   map[Weight]uint32
	slots      []slot          // by handle, of series of other stripes too
	metricOf   []uint32        // by handle: the number of the metric; the registry's
	bucketOf   []uint32        // by handle: place in buckets + 1; 0: a counter, or none of this stripe
	buckets    []bucket.Bucket // the current second's, of slots that are no counters; nil: empty
	seconds    map[metric.UnixSec]*second
	entries    int     // in seconds, all told, and secondCost for each of them
	recent     *second // the one that was last asked for
	recentSec  metric.UnixSec
	lastSeen   []metric.UnixSec // by metric number: the latest second in seconds
	pool       chunkPool
	bucketPool bucketPool
	accepted   uint64  // events, ever
	open       uint64  // events, in slots and seconds
	ignored    uint64  // events with a timestamp that their kind has no use for
	units      float64 // what counters counted, ever, but for what is in slots
	openUnits  float64 // of it: in seconds
	amended    uint64  // events of seconds before sealed
	sealed     metric.UnixSec
	trusted    bool    // what comes was accepted before: no limit refuses it
	deltas     bool    // only what a Delta has kept may be detached
	kept       uint64  // events that Deltas have kept, ever
	released   uint64  // events that were detached and released, ever
	tally      *uint64 // gets accepted after each Add, if it is set
	keptTally  *uint64 // gets kept after each Keep, or released where there are no Deltas

	batch [stage]uint64 // index cells of the events being looked up
}

// stage is how many events are hashed, probed and added together, so that their
// cache misses overlap: 256 events of 40 bytes stay in the first-level cache.
const stage = 256

func newStripe(r *Registry, resolve Resolver, secret [3]uint64) *Stripe {
	return &Stripe{
		registry: r, resolve: resolve, table: newTable(secret),
		weights: []Weight{{1, 1}}, weightOf: map[Weight]uint32{{1, 1}: 0},
		seconds: make(map[metric.UnixSec]*second),
	}
}

// Lock takes the stripe for a batch.
func (s *Stripe) Lock() { s.mu.Lock() }

// Unlock gives it back.
func (s *Stripe) Unlock() { s.mu.Unlock() }

// IgnoredTimes returns how many events had a timestamp in their key that means
// nothing for their kind. The caller holds the lock.
func (s *Stripe) IgnoredTimes() uint64 { return s.ignored }

// Add adds up events that lie in buf; the caller holds the lock. now is when
// they arrived. It sets Reason in each event, and returns how
// many were accepted.
func (s *Stripe) Add(buf []byte, events []Raw, now metric.UnixMilli) int {
	accepted := 0
	for len(events) > 0 {
		part := events[:min(stage, len(events))]
		accepted += s.addStage(buf, part, now)
		events = events[len(part):]
	}
	s.accepted += uint64(accepted)
	s.open += uint64(accepted)
	if s.tally != nil {
		atomic.StoreUint64(s.tally, s.accepted)
	}
	return accepted
}

// hashStage hashes the keys of a stage and reads their cells.
func (s *Stripe) hashStage(buf []byte, events []Raw) {
	t := &s.table
	for i := range events {
		e := &events[i]
		e.hash = t.hash(buf[e.Name:e.Name+uint32(e.NameLen)], buf[e.Rest:e.Rest+uint32(e.RestLen)])
	}
	// Touch every event's cell first: the loads do not depend on one another.
	for i := range events {
		s.batch[i] = t.index[uint32(events[i].hash)&t.mask]
	}
}

func (s *Stripe) addStage(buf []byte, events []Raw, at metric.UnixMilli) int {
	t, now := &s.table, at.Sec()
	s.hashStage(buf, events)
	accepted := 0
	for i := range events {
		e := &events[i]
		name, rest := buf[e.Name:e.Name+uint32(e.NameLen)], buf[e.Rest:e.Rest+uint32(e.RestLen)]
		entry, found := uint32(s.batch[i]>>32)-1, uint32(s.batch[i]) == uint32(e.hash) && s.batch[i] != 0
		if !found || !t.equal(entry, name, rest) {
			entry, found = t.find(e.hash, name, rest)
		}
		if !found {
			e.Reason = s.first(name, rest, e, at)
		} else {
			a := &t.aliases[entry]
			if a.how == 0 {
				e.Reason = s.add(a.slot, math.Float64frombits(e.Bits), e.Sec, now)
			} else {
				e.Reason = s.addAs(a.slot, a.how.kind(), s.weights[a.how.weight()], e, e.Sec, at)
			}
		}
		if e.Reason == metric.OK {
			accepted++
		}
	}
	return accepted
}

// add puts one weighted value into the bucket of sec, or of now if sec is 0.
func (s *Stripe) add(i uint32, v float64, sec, now metric.UnixSec) metric.Reason {
	if !(v <= metric.MaxValue && v >= -metric.MaxValue) {
		return metric.BadValue // as sent, or once it is weighted
	}
	if sec == 0 {
		sec = now
	}
	sl := &s.slots[i]
	switch {
	case sl.sec == uint32(sec):
	case sec == now && uint32(sec) > sl.sec:
		if sl.n > 0 {
			s.spill(i)
		}
		sl.sec = uint32(sec)
	default:
		return s.addStamped(i, v, sec)
	}
	sl.sum += v
	sl.n++
	return metric.OK
}

// addStamped is the general path: an event of another second than its slot has.
func (s *Stripe) addStamped(i uint32, v float64, sec metric.UnixSec) metric.Reason {
	if sec < s.sealed {
		s.amended++
	}
	if b := s.seconds[sec]; b != nil {
		if at, ok := b.stamped[i]; ok {
			p := b.at(int(at))
			p.sum += v
			p.n++
			b.events++
			s.count(b, v)
			return metric.OK
		}
	}
	if s.crowded() {
		return metric.Overload
	}
	b := s.second(sec)
	if b.stamped == nil {
		b.stamped = make(map[uint32]uint32)
	}
	b.stamped[i] = uint32(b.n)
	s.push(b, sec, partial{slot: i, n: 1, sum: v})
	return metric.OK
}

func (s *Stripe) second(sec metric.UnixSec) *second {
	if s.recent != nil && s.recentSec == sec {
		return s.recent // most spills of a batch leave the same second
	}
	b := s.seconds[sec]
	if b == nil {
		b = &second{cost: secondCost}
		s.seconds[sec] = b
		s.entries += secondCost
	}
	s.recent, s.recentSec = b, sec
	return b
}

func (s *Stripe) push(b *second, sec metric.UnixSec, p partial) {
	b.append(&s.pool, p)
	b.events += uint64(p.n)
	b.cost++
	s.entries++
	s.count(b, p.sum)
	s.see(p.slot, sec)
}

// count counts what a counter counted, once it is in a list.
func (s *Stripe) count(b *second, v float64) {
	b.units += v
	s.units += v
	s.openUnits += v
}

func (s *Stripe) see(slot uint32, sec metric.UnixSec) {
	if m := s.metricOf[slot]; s.lastSeen[m] < sec {
		s.lastSeen[m] = sec
	}
}

// spill moves a slot's sum to its second's list. It is never refused: at most
// one entry a series and second comes this way.
func (s *Stripe) spill(i uint32) {
	sl := &s.slots[i]
	sec := metric.UnixSec(sl.sec)
	if at := s.bucketOf[i]; at != 0 {
		s.pushBucket(s.second(sec), sec, bucketPartial{slot: i, n: sl.n, b: s.buckets[at-1]})
		s.buckets[at-1] = nil
	} else {
		s.push(s.second(sec), sec, partial{slot: i, n: sl.n, sum: sl.sum})
	}
	sl.n, sl.sum = 0, 0
}

// crowded reports whether an event that needs new memory is to be shed.
func (s *Stripe) crowded() bool { return s.entries >= s.registry.limits.Entries && !s.trusted }

// first handles a key that the table does not hold.
func (s *Stripe) first(name, rest []byte, e *Raw, at metric.UnixMilli) metric.Reason {
	i, r, reason := s.intern(name, rest, e, at)
	if reason != metric.OK {
		return reason
	}
	return s.addAs(i, r.Series.Kind, r.Weight, e, e.Sec, at)
}

// intern resolves a key that the table does not hold, and remembers it if it is
// worth it. It moves a timestamp in rest to e.Sec.
func (s *Stripe) intern(name, rest []byte, e *Raw, at metric.UnixMilli) (uint32, Resolution, metric.Reason) {
	r, reason := s.resolve(name, rest, at.Sec())
	if reason != metric.OK {
		return 0, r, reason
	}
	h, ok := s.registry.intern(r.Series, s.trusted)
	if !ok {
		return 0, r, metric.TooManyMetrics
	}
	i := s.slotFor(h, r.Series.Kind)
	if r.Sec != 0 || r.TimeIgnored {
		if e.Sec != 0 {
			return 0, r, metric.BadTimestamp // one in rest and one after it
		}
		if r.TimeIgnored {
			s.ignored++
		}
		e.Sec = r.Sec
		return i, r, metric.OK
	}
	if w, ok := s.weight(r.Weight); ok && !s.registry.Full() && len(s.table.aliases) < aliasesPerSeries*s.registry.limits.Series {
		s.table.insert(e.hash, name, rest, i, howOf(r.Series.Kind, w))
	}
	return i, r, metric.OK
}

func (s *Stripe) weight(w Weight) (uint32, bool) {
	n, ok := s.weightOf[w]
	if !ok && len(s.weights) < maxWeights {
		n, ok = uint32(len(s.weights)), true
		s.weights = append(s.weights, w)
		s.weightOf[w] = n
	}
	return n, ok
}

// slotFor makes room for a series of this stripe and returns its slot's number,
// which is the handle: so that what two stripes hold is in one order.
func (s *Stripe) slotFor(h Handle, k metric.Kind) uint32 {
	if n := int(h) + 1 - len(s.slots); n > 0 {
		s.slots = append(s.slots, make([]slot, n)...)
		s.bucketOf = append(s.bucketOf, make([]uint32, n)...)
		s.metricOf = s.registry.metricNumbers()
	}
	if m := int(s.metricOf[h]); m >= len(s.lastSeen) {
		s.lastSeen = append(s.lastSeen, make([]metric.UnixSec, m+1-len(s.lastSeen))...)
	}
	if k != metric.Counter && s.bucketOf[h] == 0 {
		s.buckets = append(s.buckets, nil)
		s.bucketOf[h] = uint32(len(s.buckets))
	}
	return uint32(h)
}
