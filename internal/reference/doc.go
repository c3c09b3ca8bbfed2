// Package reference is a second reader of StatsD lines. It reads the same rules as
// ingest, slowly and obviously, and shares no code with it: the fast reader is tested
// against it, and reconciliation reads the journal with it.
//
// In: a line, and the second of its arrival. Out: its events, or all that is wrong with
// it, where the fast one stops at the first fault.
//
// It does not read annotations, canonicalise tags, hash members or add anything up.
package reference
