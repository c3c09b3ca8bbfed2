package bucket

import (
	"fmt"

	"cairn/internal/metric"
)

// Bucket is *Gauge, *Distribution or *Set.
type Bucket interface {
	Kind() metric.Kind

	// Merge adds what other holds, which is of the same kind. other is not
	// changed, and nothing of it is kept.
	Merge(other Bucket)

	// Append appends the bucket's bytes to dst. An empty bucket has none. base is
	// the first second of the slot that the bucket lies in.
	Append(dst []byte, base metric.UnixSec) []byte

	// Decode replaces the content by that of src, which it reads to its end. If
	// src is not what Append writes, the bucket is empty afterwards, and the error
	// names the offset at which the bytes stop making sense.
	Decode(src []byte, base metric.UnixSec) error

	// Reset empties the bucket and keeps its memory for what comes next.
	Reset()

	// Size returns roughly how many bytes of memory the bucket takes, itself
	// included.
	Size() int
}

// New returns an empty bucket of a gauge, a distribution or a set.
func New(kind metric.Kind) Bucket {
	switch kind {
	case metric.Gauge:
		return &Gauge{}
	case metric.Distribution:
		return &Distribution{}
	case metric.Set:
		return &Set{}
	}
	panic(fmt.Sprintf("BUG: a %s has no bucket of its own", kind))
}

// mergeable panics unless other is a T.
func mergeable[T Bucket](into T, other Bucket) T {
	o, ok := other.(T)
	if !ok {
		panic(fmt.Sprintf("BUG: a bucket of a %s merged into one of a %s", other.Kind(), into.Kind()))
	}
	return o
}
