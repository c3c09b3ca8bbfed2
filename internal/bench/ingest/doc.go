//go:build linux

// Ingest measures what counting an event costs Cairn, beside a null sink: a
// server that only receives. `make bench-ingest` runs it; docs/performance.md
// says how to read what it prints.
//
// In come the load generator and the sink of the folder that -tools names; out
// goes a table. The generator has one core, the server the other one. For each
// workload sink and server run in turn, so that both meet the machine in the
// same moods, and the server's CPU time is divided by the events that the server
// says it counted:
//
//	blast ── UDP, 127.0.0.1 ──► sink             CPU from /proc/PID/stat, events from its totals
//	blast ── UDP, 127.0.0.1 ──► cairn serve      the same, events from /metrics
//
// What was sent, less what the kernel dropped, must be what was counted; else
// the run fails. A bar that is missed is a result and no failure.
//
// All processes are ended with this one, and each has a time limit of its own.
package main
