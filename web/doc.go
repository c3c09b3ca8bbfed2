// Package web serves the dashboard and the HTTP API.
//
// In come requests; out go JSON and the files of static/, which are compiled in
// and kept in memory, compressed. Every route is in one table (table in
// server.go), and those of Prometheus' API in another (promTable in prometheus.go); every
// answer carries the security headers; every error is JSON with a sentence.
//
// Of its own it holds the gate of queries and the streams' hub; else it asks query, and
// the callbacks of Options. Its goroutines are those of queries' hang-up watches, joined
// before the handler returns, of streamed queries and of their viewers, joined by Close.
package web
