package agg

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"cairn/internal/metric"
)

// BenchmarkHot walks ten open seconds in each of which all series counted: eight of
// them packed, as the pump leaves them, the last in the slots.
func BenchmarkHot(b *testing.B) {
	for _, series := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("series=%d", series), func(b *testing.B) {
			a := newTest(1, roomy)
			s := a.Stripe(0)
			var buf []byte
			events := make([]Raw, series)
			for i := range events {
				buf, events[i] = event(buf, fmt.Sprintf("m%d", i%100), fmt.Sprintf("c|%d", i), 1, 0)
			}
			for sec := range 10 {
				s.Lock()
				require.Equal(b, series, s.Add(buf, events, metric.UnixMilli(100_000+1000*sec)))
				s.Unlock()
				a.Pack(metric.UnixSec(100+sec) - 1)
			}
			b.ReportAllocs()
			for b.Loop() {
				top, all := a.Hot(20, 100, 110)
				if len(top) != 20 || all != uint64(10*series) {
					b.Fatalf("%d series, %d events", len(top), all)
				}
			}
		})
	}
}

// spaceSaving is the sketch of Metwally, Agrawal and El Abbadi ("Efficient
// Computation of Frequent and Top-k Elements in Data Streams", 2005), as a heap: the
// reference that docs/decisions/0004 compares Hot with.
type spaceSaving struct {
	cells []cell // a heap, the smallest count first
	at    map[uint32]int
}

type cell struct {
	slot  uint32
	count uint64
}

func newSpaceSaving(n int) *spaceSaving {
	return &spaceSaving{cells: make([]cell, 0, n), at: make(map[uint32]int, n)}
}

func (s *spaceSaving) Len() int           { return len(s.cells) }
func (s *spaceSaving) Less(i, j int) bool { return s.cells[i].count < s.cells[j].count }
func (s *spaceSaving) Push(any)           { panic("BUG: the heap does not grow") }
func (s *spaceSaving) Pop() any           { panic("BUG: the heap does not shrink") }
func (s *spaceSaving) Swap(i, j int) {
	s.cells[i], s.cells[j] = s.cells[j], s.cells[i]
	s.at[s.cells[i].slot], s.at[s.cells[j].slot] = i, j
}

// add counts one event; a series without a cell takes over the smallest one, count
// and all.
func (s *spaceSaving) add(slot uint32) {
	i, ok := s.at[slot]
	switch {
	case ok:
	case len(s.cells) < cap(s.cells):
		i = len(s.cells)
		s.cells = append(s.cells, cell{slot: slot})
		s.at[slot] = i
		for j := (i - 1) / 2; i > 0 && s.Less(i, j); i, j = j, (j-1)/2 {
			s.Swap(i, j)
		}
	default:
		delete(s.at, s.cells[0].slot)
		s.cells[0].slot, i = slot, 0
		s.at[slot] = 0
	}
	s.cells[i].count++
	heap.Fix(s, i)
}

// TestSpaceSaving holds that what the benchmark measures is one: no count is too low,
// and none too high by more than all events by cells.
func TestSpaceSaving(t *testing.T) {
	const cells, n = 100, 50_000
	s := newSpaceSaving(cells)
	var want [5000]uint64
	for _, slot := range skewed(n, len(want)) {
		s.add(slot)
		want[slot]++
	}
	require.Len(t, s.cells, cells)
	require.Len(t, s.at, cells)
	sum := uint64(0)
	for i, c := range s.cells {
		require.Equal(t, i, s.at[c.slot])
		require.GreaterOrEqual(t, c.count, want[c.slot])
		require.LessOrEqual(t, c.count, want[c.slot]+n/cells)
		sum += c.count
	}
	require.EqualValues(t, n, sum)
	for slot, events := range want {
		_, kept := s.at[uint32(slot)]
		require.True(t, kept || events <= n/cells, "%d with %d events", slot, events)
	}
}

// skewed returns n slots below series, the low ones more often.
func skewed(n, series int) []uint32 {
	rng := rand.New(rand.NewPCG(5, 6))
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(float64(series) * math.Pow(rng.Float64(), 3))
	}
	return out
}

// BenchmarkSpaceSaving is what an event would cost, beside what it costs already
// (BenchmarkAdd): for each one, and for one of 64.
func BenchmarkSpaceSaving(b *testing.B) {
	for _, series := range []int{1_000, 1_000_000} {
		for _, every := range []int{1, 64} {
			b.Run(fmt.Sprintf("series=%d/every=%d", series, every), func(b *testing.B) {
				s := newSpaceSaving(1000)
				slots := skewed(1<<18, series)
				left := every
				for i := 0; b.Loop(); i++ {
					if left--; left == 0 {
						left = every
						s.add(slots[i%len(slots)])
					}
				}
			})
		}
	}
}
