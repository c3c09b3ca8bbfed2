// Package query answers what the API, the dashboard and the command line ask.
//
// In comes a Request; out goes a Result: columns of steps, one for each group of series. The
// executor reads a View: the open buckets, the buckets being flushed and a snapshot of the
// store, which together hold every bucket once.
//
//	Request ─► resolve: metrics, kind, function
//	step, View.Held ─► plan: tier, Grid
//	Read ─► Prepare: Select of each Source, what is open ─► Frame: what is stored
//	                                           cache ───────┘       │
//	Result ◄── functions, Top and Bottom, Expr ◄── columns by group ┘
//
// A Reading is one view. All its Reads are prepared first, while flushes wait; the first Frame
// lets them go on, and several goroutines decode what the store has, each into columns of its
// own. Other languages than Request read the same frames.
//
// Invariants:
//   - the tier that is read divides the grid: no bucket is split, nothing is interpolated
//   - the tier holds all of the range, unless no tier does; where that takes other
//     steps than were asked for, or part of the range is not held, a warning says so
//   - the total is over all matched series, also those that the limit cuts
//   - a point without an event is null, and 0 only where that was asked for and no event can come
//   - the answer is the same whether something of it was kept or nothing
//
// The package knows sources, not where they keep their buckets.
package query
