package dedupe

import (
	"fmt"
	"sync"
	"time"

	"cairn/internal/clock"
	"cairn/internal/metric"
	"cairn/internal/mutant"
)

const (
	// Keep is how long a producer is remembered after its last batch: a sender that
	// was cut off for a weekend's day or two still may try again what it kept.
	Keep = 48 * time.Hour

	// maxProducers bounds how many are remembered: full windows of all of them are 240
	// MiB. A thousand servers with ten processes each are as many.
	maxProducers = 10_000

	// minIdle is how long a producer must have sent nothing to be forgotten for a new
	// one: clients try again for minutes, not for hours.
	minIdle = time.Hour

	// maxLists bounds the memory for lists of rejected events. Nearly all batches have
	// none; those of the oldest verdicts go first.
	maxLists = 64 << 20

	// listCost is what a list costs beside its bytes, about.
	listCost = 128
)

// Windows are those of all producers. Its methods are safe for concurrent use. Make
// it with New.
type Windows struct {
	clock clock.Clock
	limit int // maxProducers; a test sets it
	room  int // maxLists; a test sets it

	mu        sync.Mutex // guards all below
	producers map[Producer]*window
	changed   []Producer // whose windows have dirty slots; some may be there no more
	forgotten []Producer // to make room, and not yet told by Expired
	fullUntil metric.UnixMilli
	lists     []listed // the oldest first
	listBytes int
	totals    Totals
}

// listed is a list of rejected events that is kept, or was kept until its sequence
// fell out of the window.
type listed struct {
	p    Producer
	seq  uint64
	list []byte
}

// New returns Windows that know no producer.
func New(c clock.Clock) *Windows {
	return &Windows{clock: c, limit: maxProducers, room: maxLists, producers: make(map[Producer]*window)}
}

// Status says what Begin found.
type Status uint8

// What Begin may find.
const (
	Fresh     Status = iota + 1 // it never came: count it, and end with Finish or Abandon
	Duplicate                   // it counts already
	Conflict                    // the sequence counts already, with another payload
	TooOld                      // it is below the window: nobody knows whether it counts
	Busy                        // it is in flight: wait for Done, then Begin again
	Full                        // there are too many producers
)

// Outcome is what Begin found.
type Outcome struct {
	Status  Status
	Verdict Verdict         // of a Duplicate
	Done    <-chan struct{} // of a Busy one: closed once it has ended
}

// Begin says what is to be done with a batch, whose payload has that hash.
func (w *Windows) Begin(p Producer, seq, hash uint64) Outcome {
	mustBeSequence(seq)
	now := metric.MilliOf(w.clock.Now())
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.producers[p]
	if x == nil {
		if !w.makeRoom(now) {
			w.totals.Full++
			return Outcome{Status: Full}
		}
		x = w.add(p, seq)
	}
	x.seen = max(x.seen, now)
	if done, ok := x.flying[seq]; ok {
		if done == nil {
			done = make(chan struct{})
			x.flying[seq] = done
		}
		return Outcome{Status: Busy, Done: done}
	}
	if s := x.slot(seq); s != nil {
		if s.hash != hash && !mutant.On("conflict-is-duplicate") {
			x.conflicts++
			w.totals.Conflicts++
			return Outcome{Status: Conflict}
		}
		x.duplicates++
		w.totals.Duplicates++
		return Outcome{Status: Duplicate, Verdict: x.verdict(seq, s)}
	}
	if x.tooOld(seq) {
		w.totals.TooOld++
		return Outcome{Status: TooOld}
	}
	if x.flying == nil {
		x.flying = make(map[uint64]chan struct{})
	}
	x.flying[seq] = nil
	return Outcome{Status: Fresh}
}

// Finish says that a batch that was Fresh counts now.
func (w *Windows) Finish(p Producer, seq uint64, v Verdict) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.land(p, seq)
	x.batches++
	w.totals.Batches++
	w.put(p, x, seq, &v, dirty)
}

// Abandon says that a batch that was Fresh does not count.
func (w *Windows) Abandon(p Producer, seq uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.land(p, seq)
	if x.high == 0 && len(x.flying) == 0 {
		delete(w.producers, p) // nothing is known of it
	}
}

// land ends the flight of a sequence.
func (w *Windows) land(p Producer, seq uint64) *window {
	x := w.producers[p]
	if x != nil {
		if done, ok := x.flying[seq]; ok {
			if done != nil {
				close(done)
			}
			delete(x.flying, seq)
			return x
		}
	}
	panic(fmt.Sprintf("BUG: sequence %d of %s is not in flight", seq, p))
}

// Restore takes what the journal holds: it counts, and the store may not have it. It
// may come again, and in any order: of two verdicts the later one stays.
func (w *Windows) Restore(p Producer, seq uint64, v Verdict) { w.restore(p, seq, &v, dirty) }

// Load is Restore for what the store holds: Take does not return it.
func (w *Windows) Load(p Producer, seq uint64, v Verdict) { w.restore(p, seq, &v, 0) }

func (w *Windows) restore(p Producer, seq uint64, v *Verdict, flags uint64) {
	mustBeSequence(seq)
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.producers[p]
	if x == nil {
		if len(w.producers) >= w.limit {
			// It was within the limit when it came: the idlest had been forgotten.
			q, idlest := w.idlest()
			if idlest == nil || idlest.seen > v.At {
				w.forgotten = append(w.forgotten, p)
				return
			}
			w.forget(q)
		}
		x = w.add(p, seq)
	}
	x.seen = max(x.seen, v.At)
	if s := x.slot(seq); s == nil || s.time() < v.At {
		w.put(p, x, seq, v, flags)
	}
}

// put sets a verdict in a window.
func (w *Windows) put(p Producer, x *window, seq uint64, v *Verdict, flags uint64) {
	wasClean := x.dirtyHigh == 0
	if !x.put(seq, v, flags) {
		return
	}
	if wasClean && x.dirtyHigh != 0 {
		w.changed = append(w.changed, p)
	}
	if len(v.Rejected) == 0 {
		return
	}
	list := appendRejects(nil, v.Rejected)
	if x.lists == nil {
		x.lists = make(map[uint64][]byte)
	}
	x.lists[seq] = list
	w.lists = append(w.lists, listed{p, seq, list})
	w.listBytes += len(list) + listCost
	for w.listBytes > w.room {
		w.dropList()
	}
}

// dropList drops the oldest list; the verdict keeps how many events it had.
func (w *Windows) dropList() {
	l := w.lists[0]
	w.lists[0] = listed{}
	w.lists = w.lists[1:]
	w.listBytes -= len(l.list) + listCost
	if x := w.producers[l.p]; x != nil {
		// The sequence may have got another verdict since, or be another's.
		if list := x.lists[l.seq]; len(list) > 0 && &list[0] == &l.list[0] {
			delete(x.lists, l.seq)
		}
	}
}

// add begins the window of a producer. Nothing of it below seq is in the store.
func (w *Windows) add(p Producer, seq uint64) *window {
	x := &window{trimmed: seq}
	w.fullUntil = 0 // it may be one that was seen long ago
	w.producers[p] = x
	return x
}

// makeRoom makes room for a producer, if there is none and another is idle for long.
func (w *Windows) makeRoom(now metric.UnixMilli) bool {
	if len(w.producers) < w.limit {
		return true
	}
	if now < w.fullUntil {
		return false // as the last search has found: it is not repeated for each batch
	}
	p, x := w.idlest()
	if idle := metric.UnixMilli(minIdle.Milliseconds()); x == nil || now-x.seen <= idle {
		w.fullUntil = now + idle
		for _, y := range w.producers { // also those with a batch in flight, which may be abandoned
			w.fullUntil = min(w.fullUntil, y.seen+idle+1)
		}
		return false
	}
	w.forget(p)
	return true
}

// idlest returns the producer that sent nothing for the longest time and has nothing
// in flight; nil: there is none.
func (w *Windows) idlest() (p Producer, x *window) {
	for q, y := range w.producers {
		if len(y.flying) == 0 && (x == nil || y.seen < x.seen) {
			p, x = q, y
		}
	}
	return p, x
}

// forget forgets a producer to make room.
func (w *Windows) forget(p Producer) {
	delete(w.producers, p)
	w.forgotten = append(w.forgotten, p)
	w.totals.Forgotten++
}

// verdict returns what a slot of the window holds.
func (x *window) verdict(seq uint64, s *slot) Verdict {
	list, err := decodeRejects(x.lists[seq])
	if err != nil {
		panic("BUG: " + err.Error()) // appendRejects made it
	}
	return Verdict{Hash: s.hash, At: s.time(), Accepted: s.accepted, RejectedTotal: s.rejected, Rejected: list}
}
