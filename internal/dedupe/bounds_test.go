package dedupe

import (
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"cairn/internal/clock"
	"cairn/internal/metric"
)

func windowsAt(sec int64) (*Windows, *clock.Manual) {
	c := clock.NewManual(time.Unix(sec, 0))
	return New(c), c
}

func numbered(n int) (p Producer) {
	binary.BigEndian.PutUint64(p[8:], uint64(n+1))
	return p
}

// TestEachCountsOnce has many clients that send the same batches at once, and fail
// some: each sequence is finished once, and all are told so.
func TestEachCountsOnce(t *testing.T) {
	w, c := windowsAt(1_700_000_000)
	const producers, sequences, clients = 3, 400, 8
	var counts [producers][sequences + 1]int // each guarded by being in flight
	var mu sync.Mutex
	taken := map[Producer]map[uint64]int{}
	take := func() {
		list := w.Take()
		mu.Lock()
		defer mu.Unlock()
		for _, e := range list {
			if taken[e.Producer] == nil {
				taken[e.Producer] = map[uint64]int{}
			}
			taken[e.Producer][e.Sequence]++
		}
	}
	send := func(client, n int, seq uint64) {
		for try := 0; ; try++ {
			o := w.Begin(numbered(n), seq, seq)
			switch o.Status {
			case Fresh:
				if try == 0 && (int(seq)+client)%3 == 0 {
					w.Abandon(numbered(n), seq)
					continue
				}
				counts[n][seq]++
				w.Finish(numbered(n), seq, Verdict{Hash: seq, At: metric.MilliOf(c.Now()), Accepted: uint32(seq)})
				return
			case Busy:
				<-o.Done
			case Duplicate:
				if o.Verdict.Accepted != uint32(seq) {
					t.Errorf("sequence %d got the verdict of %d", seq, o.Verdict.Accepted)
				}
				return
			default:
				t.Errorf("sequence %d: status %d", seq, o.Status)
				return
			}
		}
	}
	var wg sync.WaitGroup
	for client := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range sequences {
				seq := uint64((i+client%2*sequences/4)%sequences) + 1 // they meet, and pass each other
				for n := range producers {
					send(client, n, seq)
				}
				if i%50 == client {
					take()
					w.Totals()
					w.Producers(2)
				}
			}
		}()
	}
	wg.Wait()
	take()
	for n := range producers {
		require.Len(t, taken[numbered(n)], sequences)
		for seq := 1; seq <= sequences; seq++ {
			require.Equal(t, 1, counts[n][seq], "sequence %d", seq)
			require.Equal(t, 1, taken[numbered(n)][uint64(seq)], "sequence %d", seq)
		}
	}
	totals := w.Totals()
	require.EqualValues(t, producers*sequences, totals.Batches)
	require.EqualValues(t, producers*sequences*(clients-1), totals.Duplicates)
	require.Equal(t, []int{producers * sequences, 0, 0}, []int{totals.Sequences, totals.InFlight, totals.Gaps})
}

// TestMemoryIsBounded fills the windows of a thousand producers, with lists, and goes
// on: the docs say 24 KiB a window.
func TestMemoryIsBounded(t *testing.T) {
	require.EqualValues(t, 24, unsafe.Sizeof(slot{}))
	w, c := windowsAt(1_700_000_000)
	w.limit, w.room = 200, 1<<20
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	list := make([]Reject, 200)
	for i := range list {
		list[i] = Reject{uint32(i), metric.BadValue}
	}
	var peak uint64
	for round := range 4 {
		for n := range w.limit {
			for i := range 600 {
				seq := uint64(round*600+i)*2 + 1 // every other one
				require.Equal(t, Fresh, w.Begin(numbered(n), seq, 1).Status)
				v := Verdict{Hash: 1, At: metric.MilliOf(c.Now())}
				if i%16 == 0 {
					v.Rejected = list
				}
				w.Finish(numbered(n), seq, v)
			}
		}
		require.Equal(t, Full, w.Begin(numbered(w.limit), 1, 1).Status)
		if round%2 == 0 {
			require.NotEmpty(t, w.Take())
		}
		peak = max(peak, heap()-before)
	}
	require.LessOrEqual(t, w.listBytes, w.room)
	require.Less(t, peak, uint64(w.limit)*(24<<10+1<<10)+2*uint64(w.room))
	require.Greater(t, peak, uint64(w.limit)*(24<<10), "the measurement works")
	// The latest lists are there, of the older ones only how many events they had.
	last, first := uint64(4*600-1-7)*2+1, uint64(4*600-500)*2+1
	x := w.producers[numbered(w.limit-1)]
	require.Equal(t, list, x.verdict(last, x.slot(last)).Rejected)
	x = w.producers[numbered(0)]
	for seq := first; seq <= x.high; seq += 2 {
		if s := x.slot(seq); s.rejected != 0 {
			require.EqualValues(t, len(list), s.rejected)
			require.Empty(t, x.verdict(seq, s).Rejected)
		}
	}
	runtime.KeepAlive(w)
}

// TestAnyJumpIsCheap would not end if a jump cost what it skips.
func TestAnyJumpIsCheap(t *testing.T) {
	w, _ := windowsAt(1_700_000_000)
	p := numbered(0)
	for i, seq := range []uint64{1, 2, 1 << 40, 1 << 62, MaxSequence - 1, MaxSequence, MaxSequence - Length + 1} {
		require.Equal(t, Fresh, w.Begin(p, seq, 1).Status, "sequence %d", seq)
		w.Finish(p, seq, Verdict{Hash: 1})
		if i < 4 {
			require.Len(t, w.producers[p].ring, 4, "only one sequence of it came")
		}
	}
	require.Equal(t, TooOld, w.Begin(p, MaxSequence-Length, 1).Status)
	require.Equal(t, Duplicate, w.Begin(p, MaxSequence-Length+1, 1).Status)
	require.Equal(t, Length-3, w.Producers(1)[0].Gaps)
	for _, bad := range []uint64{0, MaxSequence + 1} {
		require.Panics(t, func() { w.Begin(p, bad, 1) })
		require.Panics(t, func() { w.Restore(p, bad, Verdict{}) })
	}
	require.Panics(t, func() { w.Finish(p, 5, Verdict{}) }, "it is not in flight")
}

// TestOutgrown tells the store once a window's length that it may delete.
func TestOutgrown(t *testing.T) {
	w, _ := windowsAt(1_700_000_000)
	p := numbered(0)
	count := func(from, to uint64) (out []Outgrown) {
		for seq := from; seq <= to; seq++ {
			w.Load(p, seq, Verdict{Hash: 1, At: 1})
			out = append(out, w.Outgrown()...)
		}
		return out
	}
	require.Empty(t, count(1, 2*Length-1))
	require.Equal(t, []Outgrown{{p, Length + 1}}, count(2*Length, 3*Length-1))
	require.Equal(t, []Outgrown{{p, 2*Length + 1}}, count(3*Length, 4*Length-1))
	q := numbered(1)
	w.Load(q, 1<<50, Verdict{Hash: 1, At: 1})
	require.Empty(t, w.Outgrown(), "nothing of it is in the store below")
	// What the store still has below the window is no harm at the next start.
	again, _ := windowsAt(1_700_000_000)
	for seq := uint64(2*Length + 1); seq < 4*Length; seq++ {
		again.Load(p, seq, Verdict{Hash: 1, At: 1})
	}
	require.Equal(t, TooOld, again.Begin(p, 3*Length-1, 1).Status)
	require.Equal(t, Duplicate, again.Begin(p, 3*Length, 1).Status)
	require.Zero(t, again.Totals().Gaps)
	require.Empty(t, again.Take(), "the store has it")
}

// TestAWrongClockKeepsNobody sets a clock back that was a year ahead.
func TestAWrongClockKeepsNobody(t *testing.T) {
	w, c := windowsAt(1_700_000_000)
	w.Restore(numbered(0), 1, Verdict{At: metric.MilliOf(c.Now().AddDate(1, 0, 0))})
	require.Empty(t, w.Expired(metric.MilliOf(c.Now())))
	c.Advance(Keep)
	require.Empty(t, w.Expired(metric.MilliOf(c.Now())))
	c.Advance(time.Millisecond)
	require.Equal(t, []Producer{numbered(0)}, w.Expired(metric.MilliOf(c.Now())))
}

// TestFull forgets the idlest for a new producer, once it is idle for more than an hour.
func TestFull(t *testing.T) {
	w, c := windowsAt(1_700_000_000)
	w.limit = 2
	for n := range 2 {
		require.Equal(t, Fresh, w.Begin(numbered(n), 1, 1).Status)
		w.Finish(numbered(n), 1, Verdict{Hash: 1})
		c.Advance(time.Minute)
	}
	c.Advance(minIdle - 2*time.Minute) // the first is idle for exactly an hour
	require.Equal(t, Full, w.Begin(numbered(2), 1, 1).Status)
	c.Advance(time.Millisecond)
	require.Equal(t, Fresh, w.Begin(numbered(2), 1, 1).Status)
	require.Equal(t, Full, w.Begin(numbered(0), 1, 1).Status)
	require.Equal(t, []Producer{numbered(0)}, w.Expired(metric.MilliOf(c.Now())))
	require.Equal(t, []uint64{2, 1, 0}, []uint64{w.Totals().Full, w.Totals().Forgotten, w.Totals().Expired})
}

// TestALaterListStays drops the list of a verdict that was replaced.
func TestALaterListStays(t *testing.T) {
	w, _ := windowsAt(1_700_000_000)
	w.room = 2 * (listCost + 2)
	later := []Reject{{2, metric.BadTag}}
	w.Restore(numbered(0), 1, Verdict{Hash: 1, At: 1, Rejected: []Reject{{1, metric.BadTag}}})
	w.Restore(numbered(0), 1, Verdict{Hash: 1, At: 2, Rejected: later})
	w.Restore(numbered(0), 2, Verdict{Hash: 1, At: 2, Rejected: later})
	require.Equal(t, later, w.Begin(numbered(0), 1, 1).Verdict.Rejected)
	w.Restore(numbered(0), 3, Verdict{Hash: 1, At: 2, Rejected: later})
	require.Equal(t, Verdict{Hash: 1, At: 2, RejectedTotal: 1}, w.Begin(numbered(0), 1, 1).Verdict)
}

func BenchmarkBatch(b *testing.B) {
	w, _ := windowsAt(1_700_000_000)
	seq := uint64(0)
	for b.Loop() {
		seq++
		p := numbered(int(seq % 64))
		w.Begin(p, seq, seq)
		w.Finish(p, seq, Verdict{Hash: seq})
		if seq%20_000 == 0 {
			w.Take()
		}
	}
}
