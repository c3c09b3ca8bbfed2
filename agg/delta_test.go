package agg

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

// account is how many events of each series and second there were, by name.
type account map[string]uint64

func (a account) before(w metric.UnixSec) account {
	out := account{}
	for k, n := range a {
		var sec metric.UnixSec
		var name string
		if _, err := fmt.Sscanf(k, "%d %s", &sec, &name); err == nil && sec < w {
			out[k] = n
		}
	}
	return out
}

// deltaMachine adds, spills, keeps, packs and detaches in any order.
type deltaMachine struct {
	t        *rapid.T
	a        *Aggregator
	now      metric.UnixSec
	kept     account // what Deltas that were kept held
	detached account
	added    account
	sums     map[string]float64 // detached less kept, of counters
}

func (m *deltaMachine) key(h Handle, sec metric.UnixSec) string {
	return fmt.Sprintf("%d %s", sec, m.a.Registry.Series(h).Name)
}

func (m *deltaMachine) add() {
	s := m.a.Stripe(rapid.IntRange(0, m.a.Len()-1).Draw(m.t, "stripe"))
	for range rapid.IntRange(1, 6).Draw(m.t, "events") {
		name := rapid.SampledFrom([]string{"a|c", "b|c", "c|c", "g|g", "d|d", "s|s"}).Draw(m.t, "series")
		sec := metric.UnixSec(0)
		if name[2] == 'c' || name[2] == 'g' {
			sec = rapid.SampledFrom([]metric.UnixSec{0, 0, m.now - 1, m.now - 3, m.now - 20}).Draw(m.t, "sec")
		}
		raw := Raw{Bits: 1 << 62, NameLen: 1, Rest: 2, RestLen: uint16(len(name) - 2), Sec: sec} // 2.0
		s.Lock()
		n := s.Add([]byte(name), []Raw{raw}, metric.UnixMilli(m.now)*1000)
		s.Unlock()
		require.Equal(m.t, 1, n)
		if sec == 0 {
			sec = m.now
		}
		m.added[fmt.Sprintf("%d %c", sec, name[0])]++
	}
}

func (m *deltaMachine) delta(keep bool) {
	m.a.Spill(m.now)
	for i := range m.a.Len() {
		d := m.a.Stripe(i).Delta()
		got, all := account{}, uint64(0)
		require.NoError(m.t, d.Encode(rapid.SampledFrom([]int{1, 64, 1 << 20}).Draw(m.t, "limit"), func(body []byte, events uint64, last metric.UnixSec) error {
			latest := metric.UnixSec(0)
			all += events
			return DecodeDelta(body, DeltaVisitor{
				Sum: func(slot Handle, sec metric.UnixSec, n uint32, sum float64) error {
					got[m.key(slot, sec)] += uint64(n)
					if latest = max(latest, sec); keep {
						m.sums[m.key(slot, sec)] -= sum
					}
					require.LessOrEqual(m.t, sec, last)
					return nil
				},
				Bucket: func(slot Handle, sec metric.UnixSec, n uint32, b bucket.Bucket) error {
					got[m.key(slot, sec)] += uint64(n)
					require.Equal(m.t, m.a.Registry.Series(slot).Kind, b.Kind())
					require.LessOrEqual(m.t, sec, last)
					return nil
				},
			})
		}))
		require.Equal(m.t, all, d.Events)
		if keep {
			d.Keep()
			for k, n := range got {
				m.kept[k] += n
			}
		}
	}
}

func (m *deltaMachine) detach(w metric.UnixSec) {
	d := m.a.Detach(w)
	events := d.Events()
	require.NoError(m.t, d.Counters(func(h Handle, sums []metric.Sum) error {
		for _, s := range sums {
			m.detached[m.key(h, s.Sec)] += uint64(s.Events)
			m.sums[m.key(h, s.Sec)] += s.Value
			events -= uint64(s.Events)
		}
		return nil
	}))
	require.NoError(m.t, d.Buckets(func(h Handle, dated []bucket.Dated) error {
		for _, b := range dated {
			m.detached[m.key(h, b.Sec)] += uint64(b.Events)
			events -= uint64(b.Events)
		}
		return nil
	}))
	require.Zero(m.t, events)
	d.Release()
	require.Equal(m.t, m.kept.before(w), m.detached.before(w), "what was detached is not what was kept")
}

// TestDetachedIsWhatDeltasKept: whatever the order of events, Deltas, packing and
// detaching is, a second that was detached holds exactly what was kept of it.
func TestDetachedIsWhatDeltasKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newTest(2, roomy)
		a.minPack = 4
		for i := range a.Len() {
			a.Stripe(i).KeepDeltas()
		}
		m := &deltaMachine{t: t, a: a, now: 1000, kept: account{}, detached: account{}, added: account{}, sums: map[string]float64{}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				m.add()
			case 2:
				m.now++
			case 3:
				m.delta(true)
			case 4:
				m.delta(false)
			case 5:
				m.a.Spill(m.now)
				m.a.Pack(m.now)
			default:
				m.detach(m.now - rapid.SampledFrom([]metric.UnixSec{0, 2, 10}).Draw(t, "grace"))
			}
			c := a.Counts()
			var want, kept, detached uint64
			for k, n := range m.added {
				want += n
				kept += m.kept[k]
				detached += m.detached[k]
			}
			require.Equal(t, want, c.Accepted)
			require.Equal(t, kept, c.Kept)
			require.Equal(t, want-detached, c.Open)
		}
		m.now++
		m.delta(true)
		m.detach(metric.MaxSec)
		require.Equal(t, m.added, m.detached)
		for k, v := range m.sums {
			require.Zero(t, v, k)
		}
		c := a.Counts()
		require.Zero(t, c.Open)
		require.Zero(t, c.OpenUnits)
	})
}

// TestRestoredDeltasAreTheSame: what Restore makes of Deltas is what was added.
func TestRestoredDeltasAreTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := newTest(1, roomy), newTest(1, roomy)
		m := &deltaMachine{t: t, a: a, now: 1000, kept: account{}, detached: account{}, added: account{}, sums: map[string]float64{}}
		for range rapid.IntRange(1, 10).Draw(t, "rounds") {
			m.add()
			a.Spill(m.now + 1)
			d := a.Stripe(0).Delta()
			to := b.Stripe(0)
			require.NoError(t, d.Encode(100, func(body []byte, _ uint64, _ metric.UnixSec) error {
				to.Lock()
				defer to.Unlock()
				intern := func(h Handle) Handle {
					h, ok := b.Registry.Intern(a.Registry.Series(h))
					require.True(t, ok)
					return h
				}
				return DecodeDelta(body, DeltaVisitor{
					Sum: func(h Handle, sec metric.UnixSec, n uint32, sum float64) error {
						to.Restore(intern(h), sec, n, sum)
						return nil
					},
					Bucket: func(h Handle, sec metric.UnixSec, n uint32, x bucket.Bucket) error {
						to.RestoreBucket(intern(h), sec, n, x)
						return nil
					},
				})
			}))
			d.Keep()
			m.now += metric.UnixSec(rapid.IntRange(0, 2).Draw(t, "seconds"))
		}
		require.Equal(t, contents(t, a), contents(t, b))
		require.Equal(t, a.Counts().Accepted, b.Counts().Accepted)
		require.InDelta(t, a.Counts().OpenUnits, b.Counts().OpenUnits, 1e-9)
	})
}

// contents detaches everything and returns it as text, by series and second.
func contents(t *rapid.T, a *Aggregator) map[string]string {
	out := map[string]string{}
	a.Spill(metric.MaxSec)
	d := a.Detach(metric.MaxSec)
	require.NoError(t, d.Counters(func(h Handle, sums []metric.Sum) error {
		for _, s := range sums {
			out[fmt.Sprint(a.Registry.Series(h).Name, s.Sec)] = fmt.Sprint(s.Events, s.Value)
		}
		return nil
	}))
	require.NoError(t, d.Buckets(func(h Handle, dated []bucket.Dated) error {
		for _, b := range dated {
			out[fmt.Sprint(a.Registry.Series(h).Name, b.Sec)] = fmt.Sprintf("%d %x", b.Events, b.Bucket.Append(nil, b.Sec))
		}
		return nil
	}))
	return out
}

func FuzzDecodeDelta(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{0xd0, 0x0f, 1, 2, 4})
	f.Fuzz(func(t *testing.T, body []byte) {
		events := uint64(0)
		_ = DecodeDelta(body, DeltaVisitor{
			Sum:    func(_ Handle, _ metric.UnixSec, n uint32, _ float64) error { events += uint64(n); return nil },
			Bucket: func(_ Handle, _ metric.UnixSec, n uint32, _ bucket.Bucket) error { events += uint64(n); return nil },
		})
	})
}
