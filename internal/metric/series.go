package metric

// ID names a metric: a name and a kind. The same name under two kinds is two
// metrics.
type ID struct {
	Name string
	Kind Kind
}

// Series is a metric with a tagset.
type Series struct {
	ID
	Tags Tagset
}

// OverflowTags is the tagset into which new tagsets fold once a cardinality
// limit is reached: totals stay exact, only detail is lost.
var OverflowTags = NewTagset([]Tag{{Key: "__overflow__", Value: "true"}})

// Sum is what one bucket holds, or a part of it: the value and the number of
// events behind it.
type Sum struct {
	Sec    UnixSec
	Events uint32
	Value  float64
}
