package metric

import "fmt"

// Reason says why an event was not counted. Every event that is received is
// either accepted or counted under exactly one Reason.
type Reason uint8

const (
	OK              Reason = iota // accepted
	NoValue                       // no ':' after the name, or nothing between ':' and '|'
	NoType                        // no '|' after the value, or nothing after it
	EmptyName                     // nothing before ':'
	BadName                       // a control character in the name
	BadUTF8                       // the name or a tag is not UTF-8
	BadValue                      // the value is not a decimal number within ±MaxValue
	BadType                       // the type is none of those that StatsD knows
	UnsupportedKind               // a known type that this version does not count
	MixedTags                     // tags in the name and tags in a field
	BadRate                       // the sample rate is not a number in (0, 1], or is given twice
	BadTimestamp                  // T is not a positive whole number of seconds, or is given twice
	Future                        // T is more than MaxFuture ahead of the clock
	TooOld                        // T is older than every tier holds
	TooManyMetrics                // one metric more than the index may hold
	Overload                      // memory for open buckets is full: shed
	BadTag                        // a tag with an empty key or a control character
	TooManyTags                   // more than MaxTags tags
	TagTooLong                    // a tag longer than MaxTag
	NameTooLong                   // a name longer than MaxName
	LineTooLong                   // a line longer than MaxLine
	Truncated                     // a datagram longer than MaxDatagram: its last line is cut
	NumReasons
)

var reasonNames = [NumReasons]string{
	OK: "ok", NoValue: "no_value", NoType: "no_type", EmptyName: "empty_name", BadName: "bad_name",
	BadUTF8: "bad_utf8", BadValue: "bad_value", BadType: "bad_type", UnsupportedKind: "unsupported_kind", MixedTags: "mixed_tags",
	BadRate: "bad_rate", BadTimestamp: "bad_timestamp", Future: "future", TooOld: "too_old", BadTag: "bad_tag",
	TooManyTags: "too_many_tags", TagTooLong: "tag_too_long", NameTooLong: "name_too_long",
	TooManyMetrics: "too_many_metrics", Overload: "overload",
	LineTooLong: "line_too_long", Truncated: "truncated",
}

// String returns the name that the API, /metrics and the documents use.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}
