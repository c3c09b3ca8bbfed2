// Package agg adds events up in memory until their buckets are sealed.
//
// In come raw events (Raw): slices of a batch of bytes with the value already
// read. Out go the sums and buckets of sealed seconds (Aggregator.Detach) and, for
// queries, of those still open (Aggregator.Open).
//
//	          hash   probe   compare, add            Detach(W)
//	[]Raw ──► ────► ─────► ──────────────► Stripe ──────────────► Sealed
//	                │ first sight                │
//	                └─► Resolver ─► Registry     └─ Open: read in place
//
// A Stripe is an independent table; whoever feeds it holds its mutex for a whole
// batch, so an event costs no lock, no atomic and, once its bucket has grown, no allocation; only
// what sets a gauge's level for later changes takes a lock that stripes share. A hot key never
// contends, because each stripe holds a partial sum of its own; the parts are
// added where they are flushed or queried.
//
// # How an event finds its sum
//
// The bytes of a line without its value are its key: `name` and `rest` (type,
// rate, tags, as they were sent). Equal bytes mean the same series at the same
// sample rate, so the table maps them to a slot, a kind and a weight; nothing is
// parsed.
// Other bytes for the same series, such as tags in another order, become another
// alias of the same slot. The full bytes decide, never the hash.
//
// # Where a sum is
//
//	slot    the series' current second: {sec, n, sum}, 16 bytes, updated in place;
//	        a series that is no counter has a bucket beside it
//	second  a list of {slot, n, sum} a second: sums that left their slot because
//	        a later second began, and events that carry another second than their
//	        slot holds; and such a list of buckets
//	packed  what was in a second's list when it was packed, in the order of slots
//
// A slot's number is the series' handle in every stripe, so that all lists are in
// one order once they are packed, and a reader finds a series in its block.
//
// Invariants:
//   - a sum is in exactly one place; the value of a bucket is the sum of its
//     slot, if that holds the bucket's second, of all list entries and of what is packed
//   - seconds before the watermark W leave only by Detach, all of them at once;
//     Spill(W) has moved them out of the slots before
//   - a slot only moves to a later second
//
// The package does not know wire formats, the disk or the time.
package agg
