package agg

import (
	"math"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// maxWeight is how many observations one event may stand for: no sum of such
// weights overflows, and no sender samples one in 10^15.
const maxWeight = 1e15

// addAs puts one event into the bucket of sec, or of its arrival if sec is 0.
func (s *Stripe) addAs(i uint32, k metric.Kind, w Weight, e *Raw, sec metric.UnixSec, at metric.UnixMilli) metric.Reason {
	switch k {
	case metric.Counter:
		return s.add(i, w.Of(math.Float64frombits(e.Bits)), sec, at.Sec())
	case metric.Gauge:
		return s.addGauge(i, math.Float64frombits(e.Bits), e.Op, sec, at)
	case metric.Distribution:
		v := math.Float64frombits(e.Bits)
		if reason := checkNumber(k, v, w); reason != metric.OK {
			return reason
		}
		b, reason := s.bucketFor(i, k, sec, at.Sec())
		if reason == metric.OK {
			b.(*bucket.Distribution).Observe(v, w.Num/w.Den)
		}
		return reason
	}
	b, reason := s.bucketFor(i, k, sec, at.Sec())
	if reason == metric.OK {
		b.(*bucket.Set).Insert(e.Bits)
	}
	return reason
}

// checkNumber says what is wrong with the number of an event. A set's member is a
// hash, and no number is wrong.
func checkNumber(k metric.Kind, v float64, w Weight) metric.Reason {
	switch k {
	case metric.Counter, metric.Distribution:
		v = w.Of(v)
	case metric.Set:
		return metric.OK
	}
	switch {
	case !(v <= metric.MaxValue && v >= -metric.MaxValue):
		return metric.BadValue
	case k == metric.Distribution && w.Num/w.Den > maxWeight:
		return metric.BadRate
	}
	return metric.OK
}

// addGauge takes one reading. A sample rate means nothing for it: it stands for
// itself.
func (s *Stripe) addGauge(i uint32, v float64, op Op, sec metric.UnixSec, at metric.UnixMilli) metric.Reason {
	if reason := checkNumber(metric.Gauge, v, Weight{1, 1}); reason != metric.OK {
		return reason
	}
	if sec == 0 {
		sec = at.Sec()
	}
	b, reason := s.bucketFor(i, metric.Gauge, sec, at.Sec())
	if reason != metric.OK {
		return reason
	}
	if op != Reading {
		v = s.registry.level(Handle(i), v, op)
	}
	b.(*bucket.Gauge).Observe(v, sec, at)
	return metric.OK
}

// bucketFor returns the bucket of sec for one more event that arrived in now. sec is
// 0 where the event does not name its second: it is now then, or a later one if the
// slot has moved on; two connections that share a stripe may read the clock in one
// order and feed in the other. What is in the journal already goes into exactly its
// second, so that a replay puts it there too.
func (s *Stripe) bucketFor(i uint32, k metric.Kind, sec, now metric.UnixSec) (bucket.Bucket, metric.Reason) {
	if sec == 0 {
		sec = now
		if !s.trusted {
			return s.current(i, k, now)
		}
	}
	sl := &s.slots[i]
	if uint32(sec) == sl.sec || sec == now && uint32(sec) > sl.sec {
		return s.current(i, k, sec)
	}
	if sec < s.sealed {
		s.amended++
	}
	if b := s.seconds[sec]; b != nil {
		if at, ok := b.stamped[i]; ok {
			p := &b.buckets[at]
			p.n++
			b.events++
			return p.b, metric.OK
		}
	}
	if s.crowded() {
		return nil, metric.Overload
	}
	b := s.second(sec)
	if b.stamped == nil {
		b.stamped = make(map[uint32]uint32)
	}
	b.stamped[i] = uint32(len(b.buckets))
	g := s.bucketPool.get(k)
	s.pushBucket(b, sec, bucketPartial{slot: i, n: 1, b: g})
	return g, metric.OK
}

// current returns the bucket in a slot for one more event in sec. An event from
// before the slot's second joins the slot's.
func (s *Stripe) current(i uint32, k metric.Kind, sec metric.UnixSec) (bucket.Bucket, metric.Reason) {
	if s.crowded() {
		return nil, metric.Overload // an event may need new memory, unlike a counter's
	}
	sl := &s.slots[i]
	if uint32(sec) > sl.sec {
		if sl.n > 0 {
			s.spill(i)
		}
		sl.sec = uint32(sec)
	}
	at := s.bucketOf[i] - 1
	if s.buckets[at] == nil {
		s.buckets[at] = s.bucketPool.get(k)
	}
	sl.n++
	return s.buckets[at], metric.OK
}

func (s *Stripe) pushBucket(b *second, sec metric.UnixSec, p bucketPartial) {
	b.buckets = append(b.buckets, p)
	b.events += uint64(p.n)
	cost := p.cost()
	b.cost += cost
	s.entries += cost
	s.see(p.slot, sec)
}
