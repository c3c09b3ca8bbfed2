// Package promql answers PromQL: Prometheus' own engine evaluates, over buckets that Cairn's
// executor reads. It is the only package that knows Prometheus' code.
//
// A query goes this way:
//
//	text ── parse ──► tree ── rewrite ──► tree ── engine ──► Result ── Append ──► JSON
//	                           │ each selector gets a plan:     ▲
//	                           ▼ metrics, tier, times           │ Select
//	                         Reads of one Reading ──► series ───┘
//
// Buckets are deltas, so that what Prometheus computes out of running totals would be wrong
// here. The rewrite knows which metrics a selector is for, and when it is evaluated; so it turns
// increase and rate of counters into sums (rewrite.go), chooses what is read (plan.go), and sums
// up in the executor what is only asked for in groups (pushdown.go). A selector finds its plan
// again by a matcher that nobody can write (querier.go).
//
// All is read before the engine begins: so all selectors of a query see one view, which is
// given up early, and nothing in the engine waits for a disk.
package promql
