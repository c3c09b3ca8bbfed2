package tsdb

import (
	"cairn/internal/bucket"
	"cairn/internal/chunk"
	"cairn/internal/metric"
)

// bucketFolder turns buckets, ascending in time, into runs. It is scratch space.
type bucketFolder struct {
	run, one []byte
	merged   bucket.Bucket // where several seconds share a slot
}

// maxRun is the length at which a run ends and the next one of its partition begins: an hour
// of a busy distribution may have 200 MiB. It also keeps a row below a chunk of the arena.
const maxRun = 256 << 10

// fold calls emit with a run for each partition of a tier that dated touches, or with several
// that share no slot. The run is only valid during the call.
func (f *bucketFolder) fold(t metric.Tier, dated []bucket.Dated, emit func(partition uint32, run []byte) error) error {
	k := dated[0].Bucket.Kind()
	for i := 0; i < len(dated); {
		partition, slot := t.Place(dated[i].Sec)
		run, prev := append(f.run[:0], chunk.Run(k)), uint32(0)
		for at := partition; i < len(dated) && at == partition && len(run) < maxRun; {
			begin, first := slot, i
			for at == partition && slot == begin {
				if i++; i == len(dated) {
					break
				}
				at, slot = t.Place(dated[i].Sec)
			}
			base := t.Start(partition) + metric.UnixSec(int64(begin)*t.Width())
			f.one = f.whole(dated[first:i]).Append(f.one[:0], base)
			run = chunk.AppendBucket(run, prev, begin, f.one)
			prev = begin + 1
		}
		f.run = run
		if err := emit(partition, run); err != nil {
			return err
		}
	}
	return nil
}

func (f *bucketFolder) whole(dated []bucket.Dated) bucket.Bucket {
	if len(dated) == 1 {
		return dated[0].Bucket
	}
	if k := dated[0].Bucket.Kind(); f.merged == nil || f.merged.Kind() != k {
		f.merged = bucket.New(k)
	}
	f.merged.Reset()
	for i := range dated {
		f.merged.Merge(dated[i].Bucket)
	}
	return f.merged
}

// foldRuns turns sums, ascending in time, into one run for each partition of a
// tier that they touch. The run is only valid during the call of emit.
func foldRuns(t metric.Tier, sums []metric.Sum, scratch []byte, emit func(partition uint32, run []byte) error) ([]byte, error) {
	width := metric.UnixSec(t.Width())
	for i := 0; i < len(sums); {
		partition, slot := t.Place(sums[i].Sec)
		start := t.Start(partition)
		end := start + metric.UnixSec(t.Span())
		run, prev := append(scratch[:0], chunk.Run(metric.Counter)), uint32(0)
		for {
			slotEnd := start + metric.UnixSec(slot+1)*width
			v := sums[i].Value
			for i++; i < len(sums) && sums[i].Sec < slotEnd; i++ {
				v += sums[i].Value
			}
			run = chunk.AppendSum(run, prev, slot, v)
			prev = slot + 1
			if i == len(sums) || sums[i].Sec >= end {
				break
			}
			slot = uint32(sums[i].Sec-start) / uint32(width)
		}
		scratch = run
		if err := emit(partition, run); err != nil {
			return scratch, err
		}
	}
	return scratch, nil
}
