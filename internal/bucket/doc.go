// Package bucket holds what one bucket of a gauge, a distribution or a set is
// made of: how events go into it, how two of them become one, what can be read
// out of it, and its bytes. A counter's bucket is a number and needs none of this.
//
// Merge is associative and commutative, so that it does not matter in which
// stripe, flush, compaction or query two parts of a bucket meet.
//
// The package knows neither series nor time, except that a gauge remembers when
// its last reading was.
package bucket
