package metric

import "fmt"

// Reason says why an event was not counted. Every event that is received is
// either accepted, noted or counted under exactly one Reason.
type Reason uint8

// Sentence says what each means, and what is allowed. Journal and store keep
// their numbers: a new one comes last.
const (
	OK             Reason = iota // accepted
	NoValue                      // the line: nothing to count
	NoType                       // the line: no type
	EmptyName                    // the name: nothing there
	BadName                      // the name: a control character
	BadUTF8                      // the name, a tag or an annotation: not UTF-8
	BadValue                     // the value
	BadType                      // the type, or a field that may not stand there
	MixedTags                    // tags where no more may be
	BadRate                      // the @ field
	BadTimestamp                 // the T field
	Future                       // the T field: ahead of the clock
	TooOld                       // the T field: older than every tier is kept
	TooManyMetrics               // a limit of the index
	Overload                     // memory for open buckets is full: shed
	BadTag                       // a tag
	TooManyTags                  // a limit of the line
	TagTooLong                   // a limit of the line
	NameTooLong                  // a limit of the line
	LineTooLong                  // a limit of the line
	Truncated                    // a datagram longer than MaxDatagram: its last line is cut
	BadAnnotation                // an event or a service check
	BadJSON                      // a line of NDJSON: not JSON
	BadField                     // an event in JSON: a field
	NumReasons
)

// reasonNames are parts of the API and of /metrics: they stay as they are.
var reasonNames = [NumReasons]string{
	OK: "ok", NoValue: "no_value", NoType: "no_type", EmptyName: "empty_name", BadName: "bad_name",
	BadUTF8: "bad_utf8", BadValue: "bad_value", BadType: "bad_type", MixedTags: "mixed_tags",
	BadRate: "bad_rate", BadTimestamp: "bad_timestamp", Future: "future", TooOld: "too_old", BadTag: "bad_tag",
	TooManyTags: "too_many_tags", TagTooLong: "tag_too_long", NameTooLong: "name_too_long",
	TooManyMetrics: "too_many_metrics", Overload: "overload",
	LineTooLong: "line_too_long", Truncated: "truncated", BadAnnotation: "bad_annotation",
	BadJSON: "bad_json", BadField: "bad_field",
}

// docs/metrics.md repeats them, and a test compares the two.
var reasonSentences = [NumReasons]string{
	OK:             "accepted",
	NoValue:        "no `:` after the name, or no value behind it",
	NoType:         "no `|` and type after a value",
	EmptyName:      "nothing before the `:`, or nothing but tags",
	BadName:        "a control character in the name; white space is none, and becomes `_`",
	BadUTF8:        "the name, a tag, an event or a service check is not UTF-8",
	BadValue:       "not a decimal number within ±1e290, also once it is divided by its rate; NaN, infinities, hexadecimal and blanks are none",
	BadType:        "not one of the types `c`, `m`, `g`, `ms`, `h`, `d`, `s`, in the dialect brubeck also `C`, or in JSON of the kinds `counter`, `gauge`, `distribution`, `set`; or, among several values with types of their own, a field other than a rate",
	MixedTags:      "tags in a `#` field of a line that has tags in its name, or several values with types of their own",
	BadRate:        "the sample rate is not a number above 0 and up to 1, or is given twice; or an observation would stand for more than 10^15",
	BadTimestamp:   "the timestamp is not a positive whole number of seconds, or is given twice",
	Future:         "the timestamp is more than 10 s ahead of the clock",
	TooOld:         "the timestamp is older than every tier is kept (`--retention`)",
	TooManyMetrics: "more than `--max-metrics`",
	Overload:       "memory for open buckets is full",
	BadTag:         "a tag with an empty key or a control character; in a name: one that is not `key=value`, or a `[` without its `]`",
	TooManyTags:    "more than `--max-tags` (64)",
	TagTooLong:     "a tag longer than `--max-tag` (255 bytes)",
	NameTooLong:    "a name, without its tags, longer than `--max-name` (255 bytes)",
	LineTooLong:    "a line longer than `--max-line` (4,096 bytes); over TCP it ends the connection",
	Truncated:      "the last line of a datagram that did not fit, or of a TCP connection that broke off",
	BadAnnotation:  "an event `_e{…}` or a service check `_sc|…` with a wrong length, an empty title or name, an unknown status, type or priority, or a control character",
	BadJSON:        "a line of newline-delimited JSON that is not one JSON value",
	BadField:       "an event in JSON that is no object; or a field of it that is not one of `metric`, `kind`, `value`, `values`, `tags`, `time`, `rate`, is given twice, or is of another JSON type than it may be; or both `value` and `values`",
}

// String returns the name that the API, /metrics and the documents use.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Sentence says what was wrong with an event that was not counted, and what is
// allowed. It is a part of a sentence, with code between backquotes.
func (r Reason) Sentence() string {
	if r < NumReasons {
		return reasonSentences[r]
	}
	return r.String()
}
