package ingest

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"cairn/internal/clock"
	"cairn/internal/dedupe"
)

const (
	// gateBytes bounds what the batches under way take, from admission to answer: as
	// they were sent, decoded, and their events. The largest batch fits with room to
	// spare, and so do thousands of the usual ones of some ten KiB.
	gateBytes = 64 << 20
	// lowUntil is how full the gate may be for batches of low priority.
	lowUntil = gateBytes / 2
	// aloneUntil is what one producer may hold if no other is there: the rest is for
	// the next one that comes, so that it finds room at once.
	aloneUntil = gateBytes / 4 * 3
	// drainMemory is over which time the rate is measured at which batches are
	// finished: longer than a stall of a disk that is nothing unusual.
	drainMemory = 5 * time.Second
	// minWait and maxWait bound what Retry-After says, in seconds. A backlog of more
	// than a minute is one that nobody can predict.
	minWait, maxWait = 1, 60
)

// sender is who shares the gate: a producer, or what has none of one address.
type sender struct {
	producer dedupe.Producer
	addr     netip.Addr
}

// gate bounds the batches under way, and shares them out among senders.
type gate struct {
	clock clock.Clock

	mu       sync.Mutex // guards all below
	rng      *rand.Rand
	held     int
	batches  int
	senders  map[sender]int // bytes held
	finished float64        // bytes of late, weighted by their age; at first a guess
	at       time.Time      // when finished was right
	closed   bool
	idle     chan struct{} // is closed when the last batch leaves after close
}

func newGate(c clock.Clock, rng *rand.Rand) *gate {
	return &gate{clock: c, rng: rng, senders: make(map[sender]int), finished: gateBytes, at: c.Now(), idle: make(chan struct{})}
}

// pass is what a batch holds of the gate. It is for one goroutine.
type pass struct {
	g    *gate
	from sender
	low  bool
	n    int
}

// enter lets in a batch with the first n bytes of it, or says why not.
func (g *gate) enter(from sender, n int, low bool) (pass, *Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := pass{g: g, from: from, low: low}
	if g.closed {
		return pass{}, g.shed(statusUnavailable, ShedStopping, "the server is stopping")
	}
	if r := p.room(n); r != nil {
		return pass{}, r
	}
	g.age()
	g.batches++
	p.hold(n)
	return p, nil
}

// receive takes n bytes more of the batch as it is sent, on the terms of enter: who
// announces much and sends little holds little.
func (p *pass) receive(n int) *Refusal {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if r := p.room(n); r != nil {
		return r
	}
	p.hold(n)
	return nil
}

// room says why the batch cannot have n bytes more. The caller holds g.mu.
func (p *pass) room(n int) *Refusal {
	g := p.g
	own := g.senders[p.from]
	others := len(g.senders)
	if own > 0 {
		others--
	}
	share := aloneUntil
	if others > 0 {
		share = gateBytes / (others + 1)
	}
	switch {
	case g.held+n > gateBytes:
		return g.shed(statusUnavailable, ShedFull, "the server is overloaded: the batches under way fill its memory for them")
	case p.low && g.held+n > lowUntil:
		return g.shed(statusUnavailable, ShedLow, "the server is busy, and takes no batches of low priority until it is less so")
	case own > p.n && own+n > share: // one batch at a time is nobody's too much
		return g.shed(statusOverShare, ShedShare, "this producer has more batches under way than its share; send fewer at a time")
	}
	return nil
}

// hold takes n bytes. The caller holds g.mu.
func (p *pass) hold(n int) {
	p.n += n
	p.g.held += n
	p.g.senders[p.from] += n
}

// more takes n bytes more. It is refused where the gate is full, but for a batch that
// is the only one.
func (p *pass) more(n int) *Refusal {
	g := p.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if n > 0 && g.held+n > gateBytes && g.held > p.n {
		return g.shed(statusUnavailable, ShedFull, "the server is overloaded: the batches under way fill its memory for them")
	}
	p.hold(n)
	return nil
}

// leave gives back what the batch held. done says that it was taken: only then does
// it tell how fast batches are.
func (p *pass) leave(done bool) {
	g := p.g
	g.mu.Lock()
	defer g.mu.Unlock()
	g.age()
	g.held -= p.n
	g.batches--
	if g.senders[p.from] -= p.n; g.senders[p.from] == 0 {
		delete(g.senders, p.from)
	}
	if done {
		g.finished += float64(p.n)
	}
	if g.closed && g.batches == 0 {
		close(g.idle)
	}
}

// age brings finished to the present. Time in which there was nothing to finish does
// not count.
func (g *gate) age() {
	now := g.clock.Now()
	if d := now.Sub(g.at); d > 0 && g.batches > 0 {
		g.finished *= math.Exp(-d.Seconds() / drainMemory.Seconds())
	}
	g.at = now
}

// shed makes a refusal that says when to come again. The caller holds mu.
func (g *gate) shed(status int, why Shed, sentence string) *Refusal {
	return &Refusal{Status: status, Sentence: sentence, Shed: why, Wait: g.wait()}
}

// wait returns after how many seconds the batches under way are finished, at the rate
// of late, and up to as long again, so that not all who wait come at once.
func (g *gate) wait() int {
	g.age()
	seconds := 0.0
	if g.held > 0 {
		seconds = float64(g.held) / (g.finished / drainMemory.Seconds()) // +Inf: nothing is finished any more
	}
	seconds = min(max(seconds, minWait), maxWait/2)
	return min(int(math.Ceil(seconds*(1+g.rng.Float64()))), maxWait)
}

// waitFrom is wait for a cause that has nothing to do with the batches under way: it
// is expected to last for d.
func (g *gate) waitFrom(d time.Duration) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	seconds := min(max(d.Seconds(), minWait), maxWait)
	return min(int(math.Ceil(seconds*(1+g.rng.Float64()/2))), maxWait)
}

// close lets nobody in any more, and waits for who is in.
func (g *gate) close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		if g.batches == 0 {
			close(g.idle)
		}
	}
	g.mu.Unlock()
	<-g.idle
}

// GateStats is what the gate holds.
type GateStats struct {
	Bytes   int // of the batches under way
	Batches int
	Drain   float64 // bytes a second, of late
}

func (g *gate) stats() GateStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.age()
	return GateStats{g.held, g.batches, g.finished / drainMemory.Seconds()}
}
