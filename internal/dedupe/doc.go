// Package dedupe remembers which batches of a producer count already, so that one
// that is sent again, because its answer was lost, is not counted twice.
//
// A producer numbers its batches. For each producer there is a window of Length
// sequences, up to and including the highest that counts; for each sequence in it, if
// that has come, the verdict: the hash of the payload and what the answer was. A
// producer is forgotten Keep after its last batch.
//
// In come Begin, and Finish or Abandon, for each batch; and Load and Restore, after
// a start, for what the store and the journal hold. Out go verdicts for batches that
// were sent again, and what a flush commits with the counts: Take, Expired, Outgrown.
//
// Invariants:
//   - between New and its Finish or Abandon no other Begin of that sequence gets New
//   - what Take returns has been finished: it counts, or it will be replayed
//   - a sequence that fell out of the window is TooOld, and never New: nobody knows
//     any more whether it counts
//   - a window costs at most 24 KiB, all of them 240 MiB, lists of rejected lines 64
//     MiB together, and a call no more however far a sequence is from the last one
//
// The package knows no batch, journal or store, and starts nothing.
package dedupe
