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
		if x := w.Of(v); !(x <= metric.MaxValue && x >= -metric.MaxValue) {
			return metric.BadValue
		}
		if w.Num/w.Den > maxWeight {
			return metric.BadRate
		}
		b, reason := s.current(i, k, at.Sec())
		if reason == metric.OK {
			b.(*bucket.Distribution).Observe(v, w.Num/w.Den)
		}
		return reason
	}
	b, reason := s.current(i, k, at.Sec())
	if reason == metric.OK {
		b.(*bucket.Set).Insert(e.Bits)
	}
	return reason
}

// addGauge takes one reading. A sample rate means nothing for it: it stands for
// itself.
func (s *Stripe) addGauge(i uint32, v float64, op Op, sec metric.UnixSec, at metric.UnixMilli) metric.Reason {
	if !(v <= metric.MaxValue && v >= -metric.MaxValue) {
		return metric.BadValue
	}
	if sec == 0 {
		sec = at.Sec()
	}
	b, reason := s.gaugeOf(i, sec, at.Sec())
	if reason != metric.OK {
		return reason
	}
	if op != Reading {
		v = s.registry.level(Handle(i), v, op)
	}
	b.Observe(v, sec, at)
	return metric.OK
}

// gaugeOf returns the bucket of a gauge for one more reading in sec.
func (s *Stripe) gaugeOf(i uint32, sec, now metric.UnixSec) (*bucket.Gauge, metric.Reason) {
	sl := &s.slots[i]
	if uint32(sec) == sl.sec || sec == now && uint32(sec) > sl.sec {
		b, reason := s.current(i, metric.Gauge, sec)
		if reason != metric.OK {
			return nil, reason
		}
		return b.(*bucket.Gauge), metric.OK
	}
	if b := s.seconds[sec]; b != nil {
		if at, ok := b.stamped[i]; ok {
			p := &b.buckets[at]
			p.n++
			b.events++
			return p.b.(*bucket.Gauge), metric.OK
		}
	}
	if s.entries >= s.registry.limits.Entries {
		return nil, metric.Overload
	}
	b := s.second(sec)
	if b.stamped == nil {
		b.stamped = make(map[uint32]uint32)
	}
	b.stamped[i] = uint32(len(b.buckets))
	g := s.bucketPool.get(metric.Gauge)
	s.pushBucket(b, sec, bucketPartial{slot: i, n: 1, b: g})
	return g.(*bucket.Gauge), metric.OK
}

// current returns the bucket in a slot for one more event in sec. An event from
// before the slot's second joins the slot's: two connections that share a stripe
// may read the clock in one order and feed in the other.
func (s *Stripe) current(i uint32, k metric.Kind, sec metric.UnixSec) (bucket.Bucket, metric.Reason) {
	if s.entries >= s.registry.limits.Entries {
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
