package agg

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// addEvents puts events of one key into a stripe, arriving at.
func addEvents(s *Stripe, name, rest string, at metric.UnixMilli, events ...Raw) []Raw {
	buf := []byte(name + rest)
	for i := range events {
		events[i].NameLen, events[i].Rest, events[i].RestLen = uint16(len(name)), uint32(len(name)), uint16(len(rest))
	}
	s.Lock()
	defer s.Unlock()
	s.Add(buf, events, at)
	return events
}

func bitsOf(v float64) uint64 { return math.Float64bits(v) }

// buckets reads everything that is no number, what is open and what was detached.
func buckets(a *Aggregator, detached ...*Sealed) map[place]bucket.Bucket {
	out := map[place]bucket.Bucket{}
	n := a.Registry.Len()
	want, all := make([]uint32, n), make([]Handle, n)
	for h := range n {
		want[h], all[h] = uint32(h+1), Handle(h)
	}
	v := Visitor{Sum: func(uint32, metric.UnixSec, float64) {}, Bucket: func(i uint32, sec metric.UnixSec, b bucket.Bucket) {
		merge(out, place{a.Registry.Series(Handle(i)), sec}, b)
	}}
	a.Open(want, all, 0, metric.MaxSec, v)
	for _, d := range detached {
		d.Read(want, all, 0, metric.MaxSec, v)
	}
	return out
}

func merge(m map[place]bucket.Bucket, p place, b bucket.Bucket) {
	if m[p] == nil {
		m[p] = bucket.New(b.Kind())
	}
	m[p].Merge(b)
}

// TestKindsAgainstMap runs random events of all kinds over two stripes, with
// spills, detachments and releases, against one bucket a series and second.
func TestKindsAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newTest(2, roomy)
		oracle, flushed := map[place]bucket.Bucket{}, map[place]bucket.Bucket{}
		now := metric.UnixMilli(1_000_000)
		var sealed []*Sealed
		var events, released uint64
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				rest := rapid.SampledFrom([]string{"g", "g|x", "d", "d@10/3", "s", "s|x"}).Draw(t, "rest")
				v := float64(rapid.IntRange(-50, 50).Draw(t, "value"))
				e := Raw{Bits: bitsOf(v)}
				r, _ := testResolve([]byte("m"), []byte(rest), 0)
				b := bucket.New(r.Series.Kind)
				sec := now.Sec()
				switch r.Series.Kind {
				case metric.Gauge:
					if rapid.Bool().Draw(t, "stamped") {
						e.Sec = sec - metric.UnixSec(rapid.IntRange(0, 5).Draw(t, "late"))
						sec = e.Sec
					}
					b.(*bucket.Gauge).Observe(v, sec, now)
				case metric.Distribution:
					b.(*bucket.Distribution).Observe(v, r.Weight.Num/r.Weight.Den)
				case metric.Set:
					e.Bits = bucket.HashMember([]byte{byte(v)})
					b.(*bucket.Set).Insert(e.Bits)
				}
				// Each event at an instant of its own, so that it is clear which is last.
				now++
				got := addEvents(a.Stripe(rapid.IntRange(0, 1).Draw(t, "stripe")), "m", rest, now-1, e)
				require.Equal(t, metric.OK, got[0].Reason)
				merge(oracle, place{r.Series, sec}, b)
				events++
			},
			"advance": func(t *rapid.T) { now += metric.UnixMilli(rapid.IntRange(1, 3000).Draw(t, "ms")) },
			"detach": func(t *rapid.T) {
				w := now.Sec() - metric.UnixSec(rapid.IntRange(-1, 4).Draw(t, "back"))
				w = min(w, now.Sec())
				a.Spill(w)
				sealed = append(sealed, a.Detach(w))
			},
			"flush": func(t *rapid.T) {
				for _, d := range sealed {
					released += d.Events()
					require.NoError(t, d.Buckets(func(h Handle, dated []bucket.Dated) error {
						for i, x := range dated {
							require.True(t, i == 0 || dated[i-1].Sec < x.Sec, "one bucket a second, in order")
							merge(flushed, place{a.Registry.Series(h), x.Sec}, x.Bucket)
						}
						return nil
					}))
					d.Release()
				}
				sealed = nil
			},
			"": func(t *rapid.T) {
				got := buckets(a, sealed...)
				for p, b := range flushed {
					merge(got, p, b)
				}
				for p := range oracle {
					require.Equal(t, oracle[p].Kind(), p.series.Kind)
				}
				requireClose(t, oracle, got)
				var inSealed uint64
				for _, d := range sealed {
					inSealed += d.Events()
				}
				require.Equal(t, Counts{Accepted: events, Open: events - released - inSealed}, a.Counts())
			},
		})
	})
}

// requireClose compares buckets by their bytes, but a distribution's by what can
// be read out of it: its weights of 10/3 are added in another order.
func requireClose(t require.TestingT, want, got map[place]bucket.Bucket) {
	require.Len(t, got, len(want))
	for p, w := range want {
		g := got[p]
		require.NotNil(t, g, "%v", p)
		d, ok := w.(*bucket.Distribution)
		if !ok {
			require.Equal(t, w.Append(nil, p.sec), g.Append(nil, p.sec), "%v", p)
			continue
		}
		e := g.(*bucket.Distribution)
		require.InDelta(t, d.Count, e.Count, 1e-9)
		require.InDelta(t, d.Sum, e.Sum, 1e-9)
		require.Equal(t, []float64{d.Min, d.Max, d.Quantile(0.5)}, []float64{e.Min, e.Max, e.Quantile(0.5)})
	}
}

func TestPoolGivesEmptyBuckets(t *testing.T) {
	a := newTest(1, roomy)
	for round := range 3 {
		at := metric.UnixSec(100 + round).Milli()
		for _, rest := range []string{"g", "d", "s"} {
			addEvents(a.Stripe(0), "m", rest, at, Raw{Bits: bitsOf(float64(round + 1))})
		}
		a.Spill(at.Sec() + 1)
		d := a.Detach(at.Sec() + 1)
		require.NoError(t, d.Buckets(func(_ Handle, dated []bucket.Dated) error {
			require.Len(t, dated, 1)
			switch b := dated[0].Bucket.(type) {
			case *bucket.Gauge:
				require.Equal(t, []float64{1, float64(round + 1), float64(round + 1)}, []float64{b.Count, b.Min, b.Max})
			case *bucket.Distribution:
				require.Equal(t, []float64{1, float64(round + 1)}, []float64{b.Count, b.Sum})
			case *bucket.Set:
				require.Equal(t, 1.0, b.Estimate())
			}
			return nil
		}))
		d.Release()
	}
	require.Zero(t, a.Entries(), "what was released is not counted any more")
}

func TestWeightOfADistribution(t *testing.T) {
	a := newTest(1, roomy)
	one := Raw{Bits: bitsOf(7)}
	got := addEvents(a.Stripe(0), "m", "d@10/3", 5000, one, one, one, Raw{Bits: bitsOf(metric.MaxValue)})
	require.Equal(t, metric.BadValue, got[3].Reason, "its weighted sum would be too large")
	for p, b := range buckets(a) {
		d := b.(*bucket.Distribution)
		require.Equal(t, 10.0, d.Count, "%v", p)
		require.Equal(t, 70.0, d.Sum)
	}
	require.EqualValues(t, 3, a.Counts().Accepted)
}

func TestWeightIsBounded(t *testing.T) {
	a := newTest(1, roomy)
	s := a.Stripe(0)
	s.Lock()
	defer s.Unlock()
	h, _ := a.Registry.Intern(metric.Series{ID: metric.ID{Name: "m", Kind: metric.Distribution}})
	i := s.slotFor(h, metric.Distribution)
	require.Equal(t, metric.BadRate, s.addAs(i, metric.Distribution, Weight{1e308, 1}, &Raw{Bits: bitsOf(0)}, 0, 5000))
	require.Equal(t, metric.OK, s.addAs(i, metric.Distribution, Weight{1e15, 1}, &Raw{Bits: bitsOf(0)}, 0, 5000))
}

func TestLevels(t *testing.T) {
	a := newTest(2, roomy)
	adjust := func(v float64) Raw { return Raw{Bits: bitsOf(v), Op: Adjust} }
	addEvents(a.Stripe(0), "m", "g", 5000, adjust(4), Raw{Bits: bitsOf(10), Op: Assign}, adjust(-3))
	addEvents(a.Stripe(1), "m", "g", 5001, adjust(1), Raw{Bits: bitsOf(99)}, adjust(-20))
	for _, b := range buckets(a) {
		g := b.(*bucket.Gauge)
		// 4, 10, 7 | 8, 99 (a reading that leaves the level alone), -12
		require.Equal(t, []float64{-12, -12, 99, 6}, []float64{g.Last, g.Min, g.Max, g.Count})
	}
}

func TestIgnoredTimesAreCounted(t *testing.T) {
	a := newTest(1, roomy)
	for range 3 {
		addEvents(a.Stripe(0), "m", "d ignored", 5000, Raw{Bits: bitsOf(1)})
	}
	a.Stripe(0).Lock()
	defer a.Stripe(0).Unlock()
	require.EqualValues(t, 3, a.Stripe(0).IgnoredTimes())
}

func TestConflictsAndFull(t *testing.T) {
	a := newTest(1, roomy)
	for _, rest := range []string{"c", "g", "s"} {
		addEvents(a.Stripe(0), "both", rest, 5000, Raw{Bits: bitsOf(1)})
	}
	addEvents(a.Stripe(0), "one", "c", 5000, Raw{Bits: bitsOf(1)})
	require.Equal(t, []Conflict{{"both", []metric.Kind{metric.Counter, metric.Gauge, metric.Set}}}, a.Registry.Conflicts())

	a.Registry.SetFull(true)
	addEvents(a.Stripe(0), "one", "c|new", 5000, Raw{Bits: bitsOf(1)})
	addEvents(a.Stripe(0), "one", "c", 5000, Raw{Bits: bitsOf(1)})
	a.Registry.SetFull(false)
	addEvents(a.Stripe(0), "one", "c|newer", 5000, Raw{Bits: bitsOf(1)})
	sums := collect(a)
	one := metric.ID{Name: "one", Kind: metric.Counter}
	require.Equal(t, 1.0, sums[place{metric.Series{ID: one, Tags: metric.OverflowTags}, 5}])
	require.Equal(t, 2.0, sums[place{metric.Series{ID: one}, 5}], "what is known goes on")
	require.Equal(t, 1.0, sums[place{metric.Series{ID: one, Tags: metric.NewTagset([]metric.Tag{{Key: "newer"}})}, 5}])
}

func TestHot(t *testing.T) {
	a := newTest(2, roomy)
	rng := rand.New(rand.NewPCG(3, 4))
	var want [50]uint64
	for i := range 5000 {
		k := int(50 * math.Pow(rng.Float64(), 3))
		rest := []string{"c", "g", "d", "s"}[k%4]
		at := metric.UnixMilli(100_000 + i) // 5 seconds
		addEvents(a.Stripe(i%2), fmt.Sprintf("m%d", k), rest, at, Raw{Bits: bitsOf(1)})
		if sec := at.Sec(); sec >= 101 && sec < 104 {
			want[k]++
		}
	}
	top, all := a.Hot(10, 101, 104)
	require.EqualValues(t, 3000, all)
	require.Len(t, top, 10)
	for i, h := range top {
		var k int
		_, err := fmt.Sscanf(h.Series.Name, "m%d", &k)
		require.NoError(t, err)
		require.Equal(t, want[k], h.Events)
		require.True(t, i == 0 || top[i-1].Events >= h.Events)
		want[k] = 0
	}
	for k, n := range want {
		require.LessOrEqual(t, n, top[9].Events, "m%d is missing", k)
	}
	none, all := a.Hot(10, 0, 50)
	require.Empty(t, none)
	require.Zero(t, all)
}

func TestNoAllocationsForKinds(t *testing.T) {
	a := newTest(1, roomy)
	s := a.Stripe(0)
	for _, rest := range []string{"g", "d", "d@10/3", "s"} {
		events := make([]Raw, 64)
		for i := range events {
			events[i] = Raw{Bits: bitsOf(float64(i + 1)), NameLen: 1, Rest: 1, RestLen: uint16(len(rest))}
		}
		buf := []byte("m" + rest)
		add := func() { s.Lock(); s.Add(buf, events, 5000); s.Unlock() }
		add()
		require.Zero(t, testing.AllocsPerRun(100, add), rest)
	}
}
