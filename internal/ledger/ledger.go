// Package ledger is the account of every event received.
//
// In come the counts of the stages; out goes one Account whose identities must
// hold:
//
//	received = accepted + noted + Σ rejected  in each feeder
//	accepted = open + being flushed + stored  between the stripes and the store
//
// The counts of a stage are read at one instant; those of different stages one
// after the other, so that an Account's Received may be older than its Stored.
// Each identity is within one stage, and exact at any time.
package ledger

import (
	"cairn/ingest"
	"cairn/internal/flush"
	"cairn/internal/metric"
)

// Account is the state of the ledger since the start of the process, in events.
type Account struct {
	Received uint64
	Accepted uint64
	Noted    uint64 // events and service checks, which are shown and not counted
	Rejected [metric.NumReasons]uint64
	Open     uint64 // in memory, being flushed included
	Stored   uint64
	feeders  int64
	pump     int64
}

// Read draws up the account: of what the feeders counted, and of the pump.
func Read(feeders ingest.Counts, pump flush.Stats) Account {
	a := Account{
		Received: feeders.Received, Accepted: feeders.Accepted, Noted: feeders.Noted, Rejected: feeders.Rejected,
		Open: pump.Open + pump.Frozen, Stored: pump.Stored, pump: pump.Imbalance(),
	}
	a.feeders = int64(a.Received) - int64(a.Accepted) - int64(a.Noted)
	for _, n := range a.Rejected {
		a.feeders -= int64(n)
	}
	return a
}

// Imbalance is the number of events that the identities cannot account for; it
// is 0, or there is a bug.
func (a Account) Imbalance() int64 {
	if a.feeders != 0 {
		return a.feeders
	}
	return a.pump
}
