package metric

import "fmt"

// Tier is a stored resolution. The numbers are the first byte of a chunk's key
// on disk (docs/format.md) and must not change.
type Tier uint8

const (
	Tier1s  Tier = 1
	Tier10s Tier = 2
	Tier1m  Tier = 3
	Tier1h  Tier = 4
)

// Tiers lists all tiers, finest first.
var Tiers = [...]Tier{Tier1s, Tier10s, Tier1m, Tier1h}

// Width is the length of one bucket of the tier, in seconds.
func (t Tier) Width() int64 {
	switch t {
	case Tier1s:
		return 1
	case Tier10s:
		return 10
	case Tier1m:
		return 60
	case Tier1h:
		return 3600
	}
	panic(fmt.Sprintf("BUG: tier %d has no width", uint8(t)))
}

// Span is the length of one partition of the tier, in seconds: what one chunk
// covers. It is a multiple of Width.
func (t Tier) Span() int64 {
	switch t {
	case Tier1s:
		return 3600
	case Tier10s:
		return 6 * 3600
	case Tier1m:
		return 24 * 3600
	case Tier1h:
		return 30 * 24 * 3600
	}
	panic(fmt.Sprintf("BUG: tier %d has no span", uint8(t)))
}

// Slots is how many buckets a partition of the tier has.
func (t Tier) Slots() uint32 { return uint32(t.Span() / t.Width()) }

// Place returns the partition that holds s and the slot of s in it. s must lie
// in [0, MaxSec].
func (t Tier) Place(s UnixSec) (partition, slot uint32) {
	return uint32(int64(s) / t.Span()), uint32(int64(s) % t.Span() / t.Width())
}

// Start returns the first second of a partition.
func (t Tier) Start(partition uint32) UnixSec {
	return UnixSec(int64(partition) * t.Span())
}

// String returns the name that the API and the documents use.
func (t Tier) String() string {
	switch t {
	case Tier1s:
		return "1s"
	case Tier10s:
		return "10s"
	case Tier1m:
		return "1m"
	case Tier1h:
		return "1h"
	}
	return fmt.Sprintf("tier(%d)", uint8(t))
}
