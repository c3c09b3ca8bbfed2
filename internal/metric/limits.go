package metric

// Limits on what one event may be. Each bounds memory or keeps one sender from
// hurting the others; the reasons stand beside them.
const (
	// MaxDatagram is the largest UDP payload over IPv4.
	MaxDatagram = 65507
	// MaxValue bounds the weighted value of one event. 10^18 of them add up to
	// less than the largest float64, so that no sum anywhere can overflow.
	MaxValue = 1e290
	// MaxFuture is how many seconds ahead of the clock a timestamp may be: two
	// hosts with NTP differ by less, a sender in another unit by far more.
	MaxFuture = 10
	// MaxAge is how many seconds old a timestamp may be where no retention is set: how
	// long the coarsest tier of DefaultRetention is kept. No tier could hold anything
	// older. Where one is set, it is that policy's Longest.
	MaxAge = 400 * 24 * 3600
	// DefaultMaxSeries and DefaultMaxSeriesPerMetric bound the index; beyond
	// them new tagsets fold into OverflowTags.
	DefaultMaxSeries          = 1_000_000
	DefaultMaxSeriesPerMetric = 100_000
)

// LineLimits bounds what one line may hold. They are settings.
type LineLimits struct {
	// Line is its longest length in bytes. The default lets 64 tags of moderate
	// length fit; a line's offsets fit into 16 bits, so that no setting may go
	// beyond 65,535.
	Line int
	// Name is the longest metric name in bytes: by default the length that file
	// systems and most other metric stores allow for a name.
	Name int
	// Tag is the longest tag in bytes, key, colon and value together.
	Tag int
	// Tags is how many tags one series may have: each is a posting list to keep
	// and a row in the tag list.
	Tags int
}

// DefaultLineLimits are those that hold unless a setting says otherwise.
var DefaultLineLimits = LineLimits{Line: 4096, Name: 255, Tag: 255, Tags: 64}
