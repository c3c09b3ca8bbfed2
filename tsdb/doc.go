// Package tsdb keeps sealed buckets in Pebble, in four tiers, and the index of
// the series that they belong to.
//
// In come batches (Batch): for each series that changed, its sums or buckets in
// order of time, with new series, annotations, sequences of producers, the totals and
// the cursor, committed as one atomic and synced unit: a Pebble batch, or tables if
// there are many (commit.go). Out go, from a Snapshot, the slots of the chunks that a query selects.
//
// A chunk is all buckets of one series in one partition: one key. Batches write
// Merge operands to the keys of every tier; operands add up, so that compaction does
// the rollup and Σ 1s = Σ 10s = Σ 1m = Σ 1h holds at every instant and across
// every crash. docs/format.md draws keys and values.
//
// Invariants:
//   - a key or value on disk never changes its meaning: a new layout gets a new
//     format byte
//   - metric and series numbers never leave this package: callers hold a Ref. A number
//     is used again once no chunk has it and no snapshot is open in which one may
//   - the index in memory is what the last committed batch says
//   - every disk access goes through Options.FS
//
// The package reads no clock, knows no open buckets and never exits the process:
// what Pebble calls fatal goes to Options.Fatal.
package tsdb
