// Package engine puts together what counts and what keeps it: stripes, journal,
// store, batches and the pump, on one file system and one clock, without a socket.
//
//	open    store ► journal ► stripes ► pump ► batches
//	replay  series ► sequences ► journal ► losses ► flushes may begin
//	close   batches ► pump (everything flushed) ► journal ► store
//
// In come events through the stripes and batches; out goes what the store keeps
// and views of all buckets for queries. While the journal is replayed, datagrams
// are taken and queries are answered from what is there; batches wait.
//
// Invariants:
//   - what a batch was told to be accepted is in the journal, and counts once
//   - what is in the store is below its cursor's cut and before its watermark, or
//     below the cut and an amendment; everything else is in the journal from the cursor's
//     oldest position on
//   - a replay reads no clock, and adds exactly what the store does not have
package engine
