// Package reconcile counts again what is in the journal, and compares it with the store.
//
// In: the records of the journal that are kept, those of its journal of series, and a
// snapshot of the store. Out: a Report. Nothing is changed.
//
// It is to find what the code that counts got wrong, so it shares little with that
// code: lines are read by the reference parser, events of structured batches and series
// by decoders of its own, sums are added here, and chunks are read in the order of
// their keys, without the index. What it does share are the heads of records, the
// encoding of deltas and of chunks, and the buckets of internal/bucket.
//
// Three checks:
//
//	journal   what the records add up to = what the store holds, for each metric, bucket and
//	          tier. A bucket is compared if all of its events must be in both: it is before
//	          the store's watermark, of records below its cut, and no record that held one of
//	          its events can have been released. A record is at most MaxFuture seconds older than
//	          the buckets it is about, so these are buckets of MaxFuture+1 seconds after the
//	          oldest segment was made, and later. If all that was ever stored is in the records,
//	          there is no such bound. A bucket of a coarse tier is compared if all of its seconds are.
//	tiers     Σ 1s = Σ 10s = Σ 1m = Σ 1h of each metric and hour, over all that is stored.
//	held      events stored ever = those of all accounts + expired + deleted + before accounts; and
//	          the accounts of a counter = what its coarsest tier holds, for each partition.
//
// What the snapshot does not say that it holds is left out: tsdb.Snapshot.HeldOf. It was held
// when it was written if it is held now, as the retention's clock only goes forward. Of
// a metric of which something was deleted those buckets are left out that have an event
// of a record below the deletion's cut, and all accounts.
//
// Series are not compared: which of them fold depends on limits and on the order in
// which they came, and a metric's figures do not. Whole numbers must agree exactly.
// Fractions are added in another order than they were, so they may differ by 1e-9 of
// the sum of their magnitudes. Of several readings of a gauge with the same place in
// time any may be the last; what another does to the level that came before it is not
// known here, and only the count of such readings is compared.
//
// It does not repair, read the clock (but to tell how long it took), or compare what
// the server was told not to journal.
package reconcile
