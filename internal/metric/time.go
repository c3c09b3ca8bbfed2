package metric

import (
	"math"
	"time"
)

// UnixSec is a second of Unix time, UTC. As the name of a bucket it stands for
// the span [s, s+1).
type UnixSec int64

// UnixMilli is an instant in milliseconds of Unix time.
type UnixMilli int64

// MilliOf returns the millisecond that holds t.
func MilliOf(t time.Time) UnixMilli { return UnixMilli(t.UnixMilli()) }

// Sec returns the second that holds m, which is not negative.
func (m UnixMilli) Sec() UnixSec { return UnixSec(m / 1000) }

// Milli returns the first millisecond of s.
func (s UnixSec) Milli() UnixMilli { return UnixMilli(s) * 1000 }

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
