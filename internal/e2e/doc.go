// Package e2e tests the built binary from outside: it starts `cairn serve` as a
// process, sends datagrams as any client would, and compares what the HTTP API
// says with what was sent. It imports no other package of this module, so that
// no mistake can hide by being on both sides.
//
// TestMain builds the binary once. A test starts the servers it needs on ports
// that the kernel chooses and with data dirs of their own, so that all of them
// run in parallel and beside a server that is already there:
//
//	s := startServer(t)                   // ready when it returns, killed at the end
//	s.Send("signups:1|c|#env:prod")       // one datagram
//	s.AwaitReceived(1)                    // events, on /metrics
//	s.RequireTotal(1, "signups")          // at 1s, 10s, 1m and 1h
//
// Of kinds that are no plain counts a test lists facts, the numbers that queries
// must give, and compares them in every tier, before a flush, on the way into the
// store, after it and after a restart:
//
//	requireKept(t, s, 3, gauge("level", 20, 5, -7.5))
//
// TestKilledServersLoseNothing kills one server after another on one data dir, in
// the midst of batches, datagrams, starts and stops, and compares every bucket with
// what was acknowledged; `make prove` does it a thousand times.
//
// The tests of clients in other languages are behind the build tag `clients`;
// clients/install.sh installs what they need.
package e2e
