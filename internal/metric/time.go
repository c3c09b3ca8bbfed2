package metric

import (
	"math"
	"time"
)

// UnixSec is a second of Unix time, UTC. As the name of a bucket it stands for
// the span [s, s+1).
type UnixSec int64

// MaxSec is the largest second that can be stored: a partition number is 32
// bits wide, and that of the finest tier counts hours.
const MaxSec UnixSec = math.MaxUint32 * 3600

// SecOf returns the second that holds t.
func SecOf(t time.Time) UnixSec { return UnixSec(t.Unix()) }

// Time returns the beginning of the second.
func (s UnixSec) Time() time.Time { return time.Unix(int64(s), 0).UTC() }

// Floor rounds s down to a multiple of width, which is in seconds and above 0.
func (s UnixSec) Floor(width int64) UnixSec {
	r := int64(s) % width
	if r < 0 {
		r += width
	}
	return s - UnixSec(r)
}

// Ceil rounds s up to a multiple of width, which is in seconds and above 0.
func (s UnixSec) Ceil(width int64) UnixSec {
	return (s + UnixSec(width-1)).Floor(width)
}
