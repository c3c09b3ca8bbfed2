// Package ingest receives events and hands them to the stripes of agg.
//
// In come datagrams (UDP, UDS), streams (TCP) and batches of lines (Feeder.Feed).
// Out go agg.Raw events, in groups, into one stripe; each line that is not counted
// is counted under its metric.Reason, and by sender and name (Rejects), with the
// last such lines kept as samples.
//
//	socket ─ recvmmsg ─► 64 datagrams ─ scan ─► []agg.Raw ─► Stripe.Add
//	                                     │
//	                                     └ first sight of a key: resolve (tags, rate, type)
//
// StatsD's lines are read by statsd.go (cut into events), statsd_key.go and
// statsd_name.go (type, fields, name), DogStatsD's events and service checks by
// annotation.go. Explain says how each dialect reads a line.
//
// Batches takes what comes over HTTP and is to count exactly once:
//
//	gate ─► read ─► decode ─► dedupe.Begin ─► parse ─► Stripe.Admit ─► journal ─► Stripe.Apply ─► dedupe.Finish
//	│               encoding.go               lines, or json.go        record.go, replay.go reads it again
//	└ gate.go: bytes under way, shared out among producers
//
// Events that are no lines have structured keys (structured.go).
//
// Invariants:
//   - every line that is not empty ends up accepted, noted or under one reason: what
//     a Feeder counts as received is the sum of the three, at every instant
//   - a bad line never harms its neighbours
//   - no allocation an event once its key was seen
//   - of a batch that is refused nothing counts; one that is answered is in the journal,
//     and applied, before the barrier lets a flush look
//
// The package does not know how sums are kept, nor the disk but for the journal's
// interface.
package ingest
