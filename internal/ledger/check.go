package ledger

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"cairn/ingest"
	"cairn/internal/clock"
	"cairn/internal/dedupe"
)

const (
	// checkEvery is how often the identities are checked if nobody asks.
	checkEvery = 10 * time.Second
	// fresh is how old a check may be for who asks: a page that asks often costs
	// no more than one that asks once a second.
	fresh = time.Second
	// lookEvery is how often it is looked how far the journal has got.
	lookEvery = time.Second
	// tries and pause: two stages that are read one after the other disagree for as
	// long as a batch takes from one to the other, which is microseconds. What is
	// there at every one of 50 instants within 100 ms is missing.
	tries = 50
	pause = 2 * time.Millisecond
	// unitsShare is what sums of many floats may be apart, in relation to them.
	unitsShare = 1e-9
)

// Check is what a look at all identities found.
type Check struct {
	At        time.Time
	Imbalance int64    // events of the first identity that does not hold; 0: all do
	Units     float64  // the same in units, where they are apart by more than rounding
	Faults    []string // a sentence for each identity that does not hold
}

// Balanced reports whether every event is accounted for.
func (c *Check) Balanced() bool { return c.Imbalance == 0 && c.Units == 0 }

func (c *Check) fault(events int64, format string, args ...any) {
	if events == 0 {
		return
	}
	if c.Imbalance == 0 {
		c.Imbalance = events
	}
	if len(c.Faults) < maxFaults {
		c.Faults = append(c.Faults, fmt.Sprintf("%s: %d events", fmt.Sprintf(format, args...), events))
	}
}

// maxFaults bounds the list: a bug that every producer meets is told ten times.
const maxFaults = 10

// Ledger checks the account in the background, from Start to Close.
type Ledger struct {
	s     Sources
	clock clock.Clock
	log   *slog.Logger

	before uint64        // stored before the start
	pause  time.Duration // as the constant; a test sets it

	mu     sync.Mutex // guards those below, and lets one check run at a time
	last   Check
	rounds int // of tiers
	tiered struct {
		units float64
		fault string
	} // what the last look at the tiers found
	logged bool
	lag    lag

	started    bool
	stop, done chan struct{}
}

// New returns a ledger of what the stages count from now on; nothing may be stored
// before New returns. It checks what is asked for without Start, too.
func New(s Sources, c clock.Clock, log *slog.Logger) *Ledger {
	return &Ledger{
		s: s, clock: c, log: log, before: s.Stored() - s.Pump().Stored, pause: pause,
		stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// Start begins to check.
func (l *Ledger) Start() {
	l.started = true
	go l.run()
}

func (l *Ledger) run() {
	defer close(l.done)
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for i := 0; ; i++ {
		l.look()
		if i%int(checkEvery/lookEvery) == 0 {
			l.check(0, true)
		}
		select {
		case <-l.stop:
			return
		case <-t.C:
		}
	}
}

// Close ends the checks. What is asked for is still answered.
func (l *Ledger) Close() {
	if l.started {
		l.started = false
		close(l.stop)
		<-l.done
	}
}

// Check returns what the last check found; it is a second old at most.
func (l *Ledger) Check() Check { return l.check(fresh, false) }

// CheckNow checks, however lately that was done.
func (l *Ledger) CheckNow() Check { return l.check(0, true) }

// check checks, if the last time is longer ago than age; the tiers only if deep is
// set, because that reads the store.
func (l *Ledger) check(age time.Duration, deep bool) Check {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	if d := now.Sub(l.last.At); d >= 0 && d < age {
		return l.last
	}
	c := Check{At: now}
	l.entries(&c)
	l.pump(&c)
	if _, all := l.s.Recovered(); all { // until then nobody knows how many there will be
		c.fault(l.between(l.edges), "accepted by the stripes, and by no listener, batch or replay")
	}
	c.fault(l.between(l.lifetime), "in the store, and not stored before the start or since")
	if deep {
		l.tiered.units, l.tiered.fault = l.tiers()
	}
	if l.tiered.fault != "" {
		c.Units = cmp.Or(c.Units, l.tiered.units)
		c.Faults = append(c.Faults, l.tiered.fault)
	}
	l.last = c
	if !c.Balanced() && !l.logged {
		l.logged = true // once: it will not go away
		l.log.Error("BUG: the ledger does not balance; please report this with the log", "events", c.Imbalance, "units", c.Units, "faults", c.Faults)
	}
	return c
}

// entries checks each edge in itself.
func (l *Ledger) entries(c *Check) {
	for _, e := range l.s.Entries() {
		c.fault(e.Imbalance(), "received from %s, and not found again", e.name())
	}
	l.s.Producers(func(p dedupe.Producer, n ingest.ProducerCounts) {
		left := int64(n.Received - n.Accepted - n.Noted - n.Rejected - n.Duplicate - n.Shed)
		c.fault(left, "received from the producer %s, and not found again", p)
	})
}

// pump checks what was accepted against what is there.
func (l *Ledger) pump(c *Check) {
	p := l.s.Pump()
	c.fault(p.Imbalance(), "accepted, and neither open nor being flushed nor stored")
	parts := []float64{p.OpenUnits, p.FrozenUnits, p.StoredUnits}
	left, scale := p.AcceptedUnits, math.Abs(p.AcceptedUnits)
	for _, x := range parts {
		left -= x
		scale = max(scale, math.Abs(x))
	}
	l.lag.scale = max(l.lag.scale, scale) // what cancelled out since has left its rounding
	if math.Abs(left) > unitsShare*l.lag.scale {
		c.Units = left
		c.Faults = append(c.Faults, fmt.Sprintf("units accepted, and neither open nor being flushed nor stored: %g", left))
	}
}

// between compares two stages that are not read at one instant. read returns the
// least and the most that they may be apart, given what moved from one to the other
// meanwhile. What is certain at any one instant is a fault; what is certain at all
// of them, too.
func (l *Ledger) between(read func() (least, most int64)) (apart int64) {
	for i := range tries {
		if i > 0 {
			t := time.NewTimer(l.pause)
			<-t.C
		}
		least, most := read()
		switch {
		case most < 0:
			return most // what comes later cannot be counted already
		case least <= 0:
			return 0
		}
		apart = least
	}
	return apart
}

// edges: what the stripes accepted, less what the edges did. Who feeds a stripe counts
// in the same instant; a batch is counted a little after it was applied.
func (l *Ledger) edges() (least, most int64) {
	before := l.accepted()
	p := l.s.Pump().Accepted
	return int64(p - l.accepted()), int64(p - before)
}

func (l *Ledger) accepted() uint64 {
	n, _ := l.s.Recovered()
	for _, e := range l.s.Entries() {
		n += e.Accepted
	}
	return n
}

// lifetime: what the store has, less what it got.
func (l *Ledger) lifetime() (least, most int64) {
	before := l.s.Pump().Stored
	n := l.s.Stored() - l.before
	return int64(n - l.s.Pump().Stored), int64(n - before)
}
