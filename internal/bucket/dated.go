package bucket

import "cairn/internal/metric"

// Dated is the bucket of one second of a series, or a part of it.
type Dated struct {
	Sec    metric.UnixSec
	Events uint32
	Bucket Bucket
}
