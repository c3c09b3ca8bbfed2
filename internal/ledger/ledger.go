// Package ledger is the account of every event received.
//
// In come the counts of the stages; out goes an Account, and a Check of the
// identities that must hold, every ten seconds and whenever somebody asks:
//
//	received = accepted + noted + rejected + shed + duplicate   of each listener, of batches, of each producer
//	accepted = open + being flushed + stored                    in the stripes and the store; in units, too
//	accepted by listeners and batches + recovered = accepted by the stripes
//	stored ever = stored before the start + stored since
//	Σ 1s = Σ 10s = Σ 1m = Σ 1h                                  of a sample of what is stored
//
// The counts of one stage are read at one instant, so an identity within a stage is
// exact at any time. Those of different stages are read one after the other while
// events flow: see between.
//
// The package changes nothing and repairs nothing: it tells.
package ledger

import (
	"fmt"

	"cairn/ingest"
	"cairn/internal/dedupe"
	"cairn/internal/flush"
	"cairn/internal/metric"
	"cairn/query"
)

// Entry is the account of one listener, or of batches, since the start of the
// process, in events.
type Entry struct {
	Kind, Dialect, Addr string // Kind is UDP, UDS, TCP, HTTP, or internal: Cairn's own

	Packets, Bytes uint64
	Received       uint64
	Accepted       uint64
	Units          float64 // what the counters among them counted; of a listener, but for the current second
	Amended        uint64  // of them for seconds that were sealed when they came
	Noted          uint64  // events and service checks, which are shown and not counted
	Rejected       [metric.NumReasons]uint64
	Shed           [ingest.NumSheds]uint64 // nothing was wrong with them
	Duplicate      uint64                  // of batches that counted already
	// KernelDrops is how many datagrams the kernel dropped. Nobody knows what was in
	// them, so they are not in Received.
	KernelDrops uint64
}

// OfListener returns the entry of what a listener counted.
func OfListener(c ingest.Counts) Entry {
	e := Entry{
		Packets: c.Packets, Bytes: c.Bytes, Received: c.Received, Accepted: c.Accepted, Noted: c.Noted, Rejected: c.Rejected,
	}
	// Only feeders tell of it as a reason of a line: nothing was wrong with it.
	e.Shed[ingest.ShedMemory] = e.Rejected[metric.Overload]
	e.Rejected[metric.Overload] = 0
	return e
}

// OfBatches returns the entry of what came as batches.
func OfBatches(c ingest.BatchCounts) Entry {
	e := OfListener(c.Counts)
	for i, n := range c.Shed {
		e.Shed[i] += n
	}
	e.Duplicate, e.Units = c.Duplicate, c.Units
	return e
}

// Rejections is the sum of Rejected.
func (e *Entry) Rejections() uint64 { return sum(e.Rejected[:]) }

// Sheddings is the sum of Shed.
func (e *Entry) Sheddings() uint64 { return sum(e.Shed[:]) }

func sum(list []uint64) (n uint64) {
	for _, x := range list {
		n += x
	}
	return n
}

// Imbalance is how many events were received and are nowhere to be found.
func (e *Entry) Imbalance() int64 {
	return int64(e.Received - e.Accepted - e.Noted - e.Rejections() - e.Sheddings() - e.Duplicate)
}

// add adds the numbers of o to e.
func (e *Entry) add(o *Entry) {
	e.Packets += o.Packets
	e.Bytes += o.Bytes
	e.Received += o.Received
	e.Accepted += o.Accepted
	e.Units += o.Units
	e.Amended += o.Amended
	e.Noted += o.Noted
	e.Duplicate += o.Duplicate
	e.KernelDrops += o.KernelDrops
	for i, n := range o.Rejected {
		e.Rejected[i] += n
	}
	for i, n := range o.Shed {
		e.Shed[i] += n
	}
}

// Account is the state of the ledger since the start of the process, in events.
type Account struct {
	Entry           // the sum of Entries
	Entries []Entry // each listener, batches, and Cairn's own

	Recovered uint64 // came before the start; from the journal
	Open      uint64 // in the stripes
	Flushing  uint64
	Stored    uint64 // since the start

	// Over the life of the data dir.
	StoredEver uint64
	Gone       Gone
	LostEver   uint64 // in crashes: accepted, and neither journaled nor stored when the process died
}

// Sources are the stages whose counts the ledger reads. Each function returns
// figures of one instant.
type Sources struct {
	Entries   func() []Entry
	Producers func(visit func(dedupe.Producer, ingest.ProducerCounts))
	Pump      func() flush.Stats
	// Recovered returns how many events the start got back from the journal, and
	// whether that is all.
	Recovered func() (events uint64, all bool)
	Stored    func() uint64 // over the life of the data dir
	Gone      func() Gone   // over the life of the data dir. nil: nothing ever goes
	Lost      func() uint64 // in crashes, over the life of the data dir
	// Journaled returns, of each stripe whose events are journaled every second, how
	// many it accepted and how many of them are in the journal. nil: there are none.
	Journaled func() []Journaled
	// View is for a sample of what is stored. nil: there is none.
	View func() (*query.View, error)
	// Held returns the resolutions that hold all that was ever stored of the hour that
	// begins at a second, for metrics of a name. nil: all do.
	Held func(name string, hour metric.UnixSec) []metric.Tier
}

// Gone is what was stored, in the past: what expired, and what somebody deleted.
type Gone struct {
	Expired, Deleted           uint64 // events
	ExpiredUnits, DeletedUnits float64
	DeletedSeries              uint64
}

// Journaled is how far the journal is behind a stripe.
type Journaled struct{ Accepted, Kept uint64 }

// Account draws up the account. Its parts are read one after the other, and so may be
// some events apart.
func (l *Ledger) Account() Account {
	a := Account{Entries: l.s.Entries()}
	for i := range a.Entries {
		a.add(&a.Entries[i])
	}
	p := l.s.Pump()
	a.Open, a.Flushing, a.Stored = p.Open, p.Frozen, p.Stored
	a.Recovered, _ = l.s.Recovered()
	a.StoredEver, a.LostEver = l.s.Stored(), l.s.Lost()
	if l.s.Gone != nil {
		a.Gone = l.s.Gone()
	}
	return a
}

func (e *Entry) name() string {
	if e.Addr == "" {
		return e.Kind
	}
	return fmt.Sprintf("%s %s", e.Kind, e.Addr)
}
