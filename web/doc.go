// Package web serves the dashboard and the HTTP API.
//
// In come requests; out go JSON and the files of static/, which are compiled in
// and kept in memory, compressed. Every route is in one table (table in
// server.go); every answer carries the security headers; every error is JSON with
// a sentence.
//
// The package holds no state of its own: it asks query, and the callbacks of
// Options.
package web
