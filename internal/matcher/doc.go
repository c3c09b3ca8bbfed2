// Package matcher decides which series a query is for, by their tags.
//
// In come a tag key and what its values are compared with: a PromQL operator with a
// value or a regular expression (New), or the patterns of Cairn's own filters (Any).
// Out comes a Matcher, which is asked for a tagset or, by an index of tags, for one
// value at a time.
//
// Invariants:
//   - a key may have several values: a series passes if any of them matches, and, if
//     the matcher is negated, if none does
//   - whether a series without the key passes as if it had the empty value is the
//     matcher's MissingIsEmpty: PromQL says yes, a filter `env` for the bare tag no
//   - a short cut (literals, a prefix, everything) gives what the regular expression
//     that it stands for gives, for all bytes
//   - a Matcher never changes, and may be used by many at once
//
// It knows nothing of the syntax of filters, of metrics or of where series are kept.
package matcher
