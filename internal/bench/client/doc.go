// Package client measures the Go client beside those that people use else. It is a module of
// its own, so that the product does not depend on them. `make bench-client` runs it, and the
// client's own benchmarks.
package client
