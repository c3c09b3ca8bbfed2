// Package query answers what the API, the dashboard and the command line ask.
//
// In comes a Request; out goes a Result: step-aligned columns, one for each group
// of series. The executor reads a View: the open buckets, the buckets being
// flushed and a snapshot of the store, which together hold every bucket once.
//
//	Request ─► filters ─► series of each Source ─► groups
//	step, View.Held ───► tier ─► Source.Scan ────► columns ─► Result
//
// Invariants:
//   - from and to are multiples of the step, and the step is a multiple of the
//     width of the tier that is read: no bucket is split, nothing is interpolated
//   - the tier holds all of the range, unless no tier does; where that takes another
//     step than was asked for, or part of the range is not held, a warning says so
//   - the total is over all matched series, also those that the limit cuts
//   - a point without an event is null, never 0
//
// The package knows sources, not where they keep their buckets.
package query
