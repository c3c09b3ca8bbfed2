package chunk

import (
	"math"
	"math/rand"

	"cairn/internal/metric"
)

// dataset is series i of the data set that stores are compared with: 40% dense and of a
// high rate, 30% of a low rate, 30% sparse.
func dataset(i, seconds int) (slots []uint32, sums []float64) {
	rng := rand.New(rand.NewSource(1e6 + int64(i)))
	for t := range seconds {
		v := 0
		switch i % 10 {
		case 0, 1, 2, 3:
			l := 100.0 + float64(i%7)*50
			v = int(math.Max(0, rng.NormFloat64()*math.Sqrt(l)+l))
		case 4, 5, 6:
			v = int(math.Max(0, rng.NormFloat64()*2.2+5))
		default:
			if rng.Intn(10) == 0 {
				v = 1 + rng.Intn(3)
			}
		}
		if v > 0 {
			slots, sums = append(slots, uint32(t)), append(sums, float64(v))
		}
	}
	return slots, sums
}

// rollUp adds slots up to ones that are width times as long.
func rollUp(slots []uint32, sums []float64, width uint32) (s []uint32, v []float64) {
	for i, slot := range slots {
		if n := len(s); n > 0 && s[n-1] == slot/width {
			v[n-1] += sums[i]
			continue
		}
		s, v = append(s, slot/width), append(v, sums[i])
	}
	return s, v
}

func runOf(slots []uint32, sums []float64) []byte {
	b, prev := []byte{Run(metric.Counter)}, uint32(0)
	for i, s := range slots {
		b = AppendSum(b, prev, s, sums[i])
		prev = s + 1
	}
	return b
}

func second(slot uint32) metric.UnixSec { return 1_700_000_000 + metric.UnixSec(slot) }

// merge merges operands as a compaction does.
func merge(last bool, operands ...[]byte) []byte {
	a := NewAccumulator()
	a.Start(MaxSlots, second)
	for _, o := range operands {
		a.Add(o)
	}
	return append([]byte(nil), a.Finish(last)...)
}
