//go:build linux

// Query measures queries of the built server over HTTP, beside VictoriaMetrics with the
// same data in the same run. `make bench-query` runs it; docs/performance.md says how to
// read what it prints.
//
//	            ┌─► tsdb, written directly ─► cairn serve ───────┐
//	data set ───┤                                                ├─► asked in turn, over kept connections
//	            └─► /api/v1/import ─► victoria-metrics ──────────┘
//
// 30 days cannot be sent over the wire, so the store is written by its own package, into
// all tiers, as flushes do. Before a query is
// timed its answers are compared, value by value: a wrong answer is no measurement, and
// fails the run. A bar that is missed is a result and no failure, and so is a query that
// the server does not know: its row says why.
//
// The data can be kept for more runs (-keep). Children are ended with this process.
package main
