// Package flush is the one pump from agg to tsdb, and the keeper of the view that
// queries read.
//
// Every interval, aligned to the clock, it seals what is older than the grace
// period, takes it out of the stripes and commits it as one batch, with the
// annotations that came meanwhile. In the seconds between it packs lists that have ended.
//
//	        Spill(W)     Detach(W)            Commit            publish
//	stripes ───────► lists ──────► frozen ─────────────► store ─────────► snapshot
//	                 under the view's lock   synced; no lock   under the view's lock
//
// A query sees {the live stripes, the frozen buckets, a snapshot of the store}.
// Detaching and publishing change two of the three at once, under the view's
// lock, which queries share while they read what is in memory; so a flush in the
// middle of a query neither hides nor doubles a bucket, and no query waits for
// the disk.
//
// Invariants:
//   - a sum is in exactly one of stripes, frozen and store
//   - what could not be committed stays frozen and is tried again with the next
//     flush; no sum is dropped
//   - accepted events = open + frozen + stored since the start, at every instant
//     at which the view's lock is free
package flush
