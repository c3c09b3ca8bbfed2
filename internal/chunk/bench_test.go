package chunk

import (
	"fmt"
	"math"
	"math/rand"
	"testing"

	"cairn/internal/bucket"
	"cairn/internal/metric"
)

func perSecond(b *testing.B, samples int) {
	b.ReportMetric(float64(samples)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
}

// BenchmarkDecodeDense decodes an hour of seconds of a busy counter, beside the same as a run.
func BenchmarkDecodeDense(b *testing.B) {
	for _, series := range []int{0, 1, 6 * 10 * 7, 4, 7} {
		slots, sums := dataset(series, 3600)
		run := runOf(slots, sums)
		var e encoder
		col := e.appendSums(nil, slots, sums)
		for name, chunk := range map[string][]byte{"columns": col, "run": run} {
			b.Run(fmt.Sprintf("%s/series=%d", name, series), func(b *testing.B) {
				d := NewDecoder()
				b.ReportAllocs()
				for b.Loop() {
					if _, _, err := d.Sums(chunk, MaxSlots); err != nil {
						b.Fatal(err)
					}
				}
				perSecond(b, len(slots))
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, series := range []int{0, 4, 7} {
		slots, sums := dataset(series, 3600)
		b.Run(fmt.Sprintf("series=%d", series), func(b *testing.B) {
			var e encoder
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = e.appendSums(dst[:0], slots, sums)
			}
			perSecond(b, len(slots))
			b.ReportMetric(float64(len(dst))/float64(len(slots)), "B/sample")
		})
	}
}

// BenchmarkMerge merges 360 operands of ten seconds, and columns with one of these.
func BenchmarkMerge(b *testing.B) {
	slots, sums := dataset(0, 3600)
	var operands [][]byte
	for i := 0; i < len(slots); i += 10 {
		operands = append(operands, runOf(slots[i:min(i+10, len(slots))], sums[i:min(i+10, len(slots))]))
	}
	a := NewAccumulator()
	b.Run("operands", func(b *testing.B) {
		for b.Loop() {
			a.Start(MaxSlots, second)
			for _, o := range operands {
				a.Add(o)
			}
			a.Finish(true)
		}
		perSecond(b, len(slots))
	})
	col := merge(true, operands[1:]...)
	b.Run("columns", func(b *testing.B) {
		for b.Loop() {
			a.Start(MaxSlots, second)
			a.Add(col)
			a.Add(operands[0])
			a.Finish(true)
		}
		perSecond(b, len(slots))
	})
}

// BenchmarkSize tells bytes a sample of the seconds, by tier, and beside runs.
func BenchmarkSize(b *testing.B) {
	const series = 200
	for b.Loop() {
		var e encoder
		samples := 0
		var size, run [4]int
		for i := range series {
			slots, sums := dataset(i, 3600)
			samples += len(slots)
			for t, width := range []uint32{1, 10, 60, 3600} {
				s, v := rollUp(slots, sums, width)
				r := len(runOf(s, v))
				run[t] += r
				if len(s) >= minColumn {
					r = min(r, len(e.appendSums(nil, s, v)))
				}
				size[t] += r
			}
		}
		all := 0
		for t, tier := range []string{"1s", "10s", "1m", "1h"} {
			b.ReportMetric(float64(size[t])/float64(samples), tier+":B/sample")
			b.ReportMetric(float64(run[t])/float64(samples), tier+":run:B/sample")
			all += size[t]
		}
		b.ReportMetric(float64(all)/float64(samples), "all:B/sample")
	}
}

// BenchmarkSizeOfKinds tells bytes a bucket of an hour of seconds, beside runs.
func BenchmarkSizeOfKinds(b *testing.B) {
	for _, k := range kinds {
		b.Run(k.String(), func(b *testing.B) {
			rng := rand.New(rand.NewSource(1))
			run, v := []byte{Run(k)}, 500.0
			for slot := range uint32(3600) {
				o := bucket.New(k)
				switch o := o.(type) {
				case *bucket.Gauge:
					v += math.Round(rng.NormFloat64() * 3)
					o.Observe(v, second(slot), second(slot).Milli()+200+metric.UnixMilli(rng.Intn(20)))
				case *bucket.Distribution:
					for range 20 {
						o.Observe(math.Round(rng.ExpFloat64()*100), 1)
					}
				case *bucket.Set:
					for range 20 {
						o.Insert(uint64(rng.Intn(2000)) * 0x9e3779b97f4a7c15)
					}
				}
				run = AppendBucket(run, slot, slot, o.Append(nil, second(slot)))
			}
			a := NewAccumulator()
			var out []byte
			for b.Loop() {
				a.Start(MaxSlots, second)
				a.Add(run)
				out = a.Finish(true)
			}
			b.ReportMetric(float64(len(run))/3600, "run:B/bucket")
			b.ReportMetric(float64(len(out))/3600, "B/bucket")
		})
	}
}
