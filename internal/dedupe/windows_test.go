package dedupe

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

// oracle is Windows without a window: it keeps everything, and looks at all of it.
type oracle map[Producer]*known

type known struct {
	counts map[uint64]Verdict
	dirty  map[uint64]bool
	flying map[uint64]bool
	high   uint64
	low    uint64 // the lowest that ever came, as long as the window has not passed it
	seen   metric.UnixMilli
}

func (k *known) inWindow(seq uint64) bool { return seq <= k.high && k.high-seq < Length }

func (k *known) gaps() (n int) {
	for seq := k.high; seq >= max(1, k.low) && k.inWindow(seq); seq-- {
		if _, ok := k.counts[seq]; !ok && !k.flying[seq] {
			n++
		}
	}
	return n
}

func (k *known) put(seq uint64, v Verdict, dirty bool) {
	if seq < k.high && k.high-seq >= Length {
		return
	}
	if len(k.counts) == 0 {
		k.low = seq
	}
	k.counts[seq] = v
	k.dirty[seq] = dirty
	k.high, k.low = max(k.high, seq), min(k.low, seq)
}

// machine drives Windows and the oracle alike.
type machine struct {
	w         *Windows
	clock     *clock.Manual
	o         oracle
	forgotten map[Producer]bool
	waits     map[Producer]map[uint64][]<-chan struct{}
	names     []Producer
}

const testLimit = 4

func newMachine() *machine {
	m := &machine{
		clock: clock.NewManual(time.Unix(1_700_000_000, 0)), o: oracle{}, forgotten: map[Producer]bool{},
		waits: map[Producer]map[uint64][]<-chan struct{}{},
	}
	m.w = New(m.clock)
	m.w.limit = testLimit
	for i := range testLimit + 2 {
		m.names = append(m.names, Producer{byte(i + 1)})
		m.waits[m.names[i]] = map[uint64][]<-chan struct{}{}
	}
	return m
}

func (m *machine) now() metric.UnixMilli { return metric.MilliOf(m.clock.Now()) }

func (m *machine) add(p Producer) *known {
	k := &known{counts: map[uint64]Verdict{}, dirty: map[uint64]bool{}, flying: map[uint64]bool{}}
	m.o[p] = k
	return k
}

// idlest returns one that may be forgotten, or nil. Two are never seen at the same ms.
func (m *machine) idlest() (p Producer, k *known) {
	for q, y := range m.o {
		if len(y.flying) == 0 && (k == nil || y.seen < k.seen) {
			p, k = q, y
		}
	}
	return p, k
}

// sequence draws one that is likely to be near an edge.
func (m *machine) sequence(t *rapid.T, p Producer) uint64 {
	high := int64(1)
	if k := m.o[p]; k != nil && k.high > 0 {
		high = int64(k.high)
	}
	var seq int64
	switch rapid.IntRange(0, 6).Draw(t, "where") {
	case 0, 1, 2:
		seq = high + rapid.Int64Range(-4, 4).Draw(t, "near")
	case 3:
		seq = high - Length + rapid.Int64Range(-3, 3).Draw(t, "bottom")
	case 4:
		seq = high - rapid.Int64Range(0, Length).Draw(t, "inside")
	case 5:
		seq = high + rapid.SampledFrom([]int64{7, 100, Length - 1, Length, Length + 1, 1 << 40}).Draw(t, "jump")
	default:
		seq = rapid.Int64Range(1, 3*Length).Draw(t, "any")
	}
	if seq < 1 || uint64(seq) > MaxSequence {
		seq = 1
	}
	return uint64(seq)
}

func drawVerdict(t *rapid.T, hash uint64, at metric.UnixMilli) Verdict {
	v := Verdict{Hash: hash, At: at, Accepted: rapid.Uint32().Draw(t, "accepted")}
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(t, "rejects") {
		v.Rejected = append(v.Rejected, Reject{rapid.Uint32().Draw(t, "line"), metric.Reason(rapid.Byte().Draw(t, "reason"))})
	}
	v.RejectedTotal = uint32(len(v.Rejected))
	return v
}

// tick makes every instant another one.
func (m *machine) tick() { m.clock.Advance(time.Millisecond) }

func (m *machine) begin(t *rapid.T) {
	m.tick()
	p := rapid.SampledFrom(m.names).Draw(t, "producer")
	seq, hash := m.sequence(t, p), rapid.Uint64Range(1, 2).Draw(t, "hash")
	k := m.o[p]
	if k == nil {
		if len(m.o) == testLimit {
			q, idlest := m.idlest()
			if idlest == nil || m.now()-idlest.seen <= metric.UnixMilli(minIdle.Milliseconds()) {
				require.Equal(t, Outcome{Status: Full}, m.w.Begin(p, seq, hash))
				return
			}
			delete(m.o, q)
			m.forgotten[q] = true
		}
		k = m.add(p)
	}
	k.seen = m.now()
	got := m.w.Begin(p, seq, hash)
	v, counts := k.counts[seq]
	counts = counts && k.inWindow(seq)
	switch {
	case k.flying[seq]:
		require.Equal(t, Busy, got.Status)
		m.waits[p][seq] = append(m.waits[p][seq], got.Done)
		require.False(t, isClosed(got.Done))
	case counts && v.Hash == hash:
		require.Equal(t, Outcome{Status: Duplicate, Verdict: v}, got)
	case counts:
		require.Equal(t, Outcome{Status: Conflict}, got)
	case k.high >= Length && seq <= k.high-Length:
		require.Equal(t, Outcome{Status: TooOld}, got)
	default:
		require.Equal(t, Outcome{Status: Fresh}, got)
		k.flying[seq] = true
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// land ends the flight of one of those that are in flight.
func (m *machine) land(t *rapid.T, end func(p Producer, k *known, seq uint64)) {
	type flight struct {
		p   Producer
		seq uint64
	}
	var flights []flight
	for _, p := range m.names {
		if k := m.o[p]; k != nil {
			for _, seq := range slices.Sorted(maps.Keys(k.flying)) {
				flights = append(flights, flight{p, seq})
			}
		}
	}
	if len(flights) == 0 {
		return
	}
	f := rapid.SampledFrom(flights).Draw(t, "flight")
	k := m.o[f.p]
	delete(k.flying, f.seq)
	end(f.p, k, f.seq)
	for _, done := range m.waits[f.p][f.seq] {
		require.True(t, isClosed(done))
	}
	delete(m.waits[f.p], f.seq)
}

func (m *machine) finish(t *rapid.T) {
	m.land(t, func(p Producer, k *known, seq uint64) {
		v := drawVerdict(t, rapid.Uint64Range(1, 2).Draw(t, "hash"), m.now())
		m.w.Finish(p, seq, v)
		k.put(seq, v, true)
	})
}

func (m *machine) abandon(t *rapid.T) {
	m.land(t, func(p Producer, k *known, seq uint64) {
		m.w.Abandon(p, seq)
		if len(k.counts) == 0 && len(k.flying) == 0 {
			delete(m.o, p)
		}
	})
}

func (m *machine) restore(t *rapid.T) {
	m.tick()
	p := rapid.SampledFrom(m.names).Draw(t, "producer")
	seq, hash := m.sequence(t, p), rapid.Uint64Range(1, 2).Draw(t, "hash")
	at := m.now() - metric.UnixMilli(rapid.Int64Range(0, 2).Draw(t, "ago"))*metric.UnixMilli(time.Hour.Milliseconds())
	v, stored := drawVerdict(t, hash, at), rapid.Bool().Draw(t, "stored")
	for range 2 {
		if stored {
			m.w.Load(p, seq, v)
		} else {
			m.w.Restore(p, seq, v)
		}
	}
	k := m.o[p]
	if k == nil {
		if len(m.o) == testLimit {
			q, idlest := m.idlest()
			if idlest == nil || idlest.seen > v.At {
				m.forgotten[p] = true
				return
			}
			delete(m.o, q)
			m.forgotten[q] = true
		}
		k = m.add(p)
	}
	k.seen = max(k.seen, v.At)
	if old, ok := k.counts[seq]; !ok || !k.inWindow(seq) || old.At < v.At {
		k.put(seq, v, !stored)
	}
}

func (m *machine) take(t *rapid.T) {
	want := map[Producer]map[uint64]Verdict{}
	for p, k := range m.o {
		for seq, dirty := range k.dirty {
			if dirty && k.inWindow(seq) {
				if want[p] == nil {
					want[p] = map[uint64]Verdict{}
				}
				want[p][seq] = k.counts[seq]
			}
		}
		clear(k.dirty)
	}
	got := map[Producer]map[uint64]Verdict{}
	for _, e := range m.w.Take() {
		if got[e.Producer] == nil {
			got[e.Producer] = map[uint64]Verdict{}
		}
		require.NotContains(t, got[e.Producer], e.Sequence)
		got[e.Producer][e.Sequence] = e.Verdict
	}
	require.Equal(t, want, got)
}

func (m *machine) wait(t *rapid.T) {
	m.clock.Advance(rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Minute, minIdle, Keep}).Draw(t, "time"))
}

func (m *machine) expire(t *rapid.T) {
	for p, k := range m.o {
		if len(k.flying) == 0 && m.now()-k.seen > metric.UnixMilli(Keep.Milliseconds()) {
			delete(m.o, p)
			m.forgotten[p] = true
		}
	}
	want := slices.SortedFunc(maps.Keys(m.forgotten), func(a, b Producer) int { return bytes.Compare(a[:], b[:]) })
	require.Equal(t, want, m.w.Expired(m.now()))
	clear(m.forgotten)
}

func (m *machine) check(t *rapid.T) {
	totals := m.w.Totals()
	stats := m.w.Producers(testLimit + 1)
	require.Len(t, stats, len(m.o))
	require.Equal(t, len(m.o), totals.Producers)
	byName := map[string]ProducerStats{}
	for i, s := range stats {
		byName[s.Producer] = s
		require.True(t, i == 0 || s.LastSeen <= stats[i-1].LastSeen)
	}
	for p, k := range m.o {
		s, ok := byName[p.String()]
		require.True(t, ok)
		require.Equal(t, []any{k.high, k.gaps(), len(k.flying), k.seen}, []any{s.Sequence, s.Gaps, s.InFlight, s.LastSeen})
		require.LessOrEqual(t, len(m.w.producers[p].ring), Length)
		require.LessOrEqual(t, len(m.w.producers[p].lists), m.w.producers[p].present)
	}
}

func TestAgainstOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine()
		t.Repeat(map[string]func(*rapid.T){
			"begin": m.begin, "begin again": m.begin, "begin more": m.begin, "finish": m.finish, "finish more": m.finish,
			"abandon": m.abandon, "restore": m.restore, "take": m.take, "wait": m.wait, "expire": m.expire, "": m.check,
		})
	})
}
