//go:build linux

// Store measures the store against its bars, in one run: bytes a sample at rest, what
// flushes cost, decoding, reading, opening, and flushes beside readers.
// `make bench-store` runs it; docs/performance.md says how to read what it prints.
//
// In comes the data set of the folder that -tools names; out goes a table. What is
// measured is the server's own way from the stripes to the disk, with a clock that
// is set by hand:
//
//	data set ─► agg ─► flush ─► tsdb, in a folder of its own ─► query
//
// CPU time is that of the process, less that of the thread that feeds: other work on
// the machine makes it longer, but by less than time on the wall. A bar that is
// missed is a result and no failure; samples that are not counted are one.
//
// Children are ended with this process, and the folder is removed.
package main
