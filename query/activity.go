package query

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"cairn/internal/clock"
)

// Bounds on what is remembered of queries that have ended.
const (
	slowestKept = 50              // a slot
	slotTime    = 5 * time.Minute // queries that end in it share a slot
	// slowSlots cover an hour and what of a slot is over.
	slowSlots = int(time.Hour/slotTime) + 1
	// maxText is how many bytes of a query's text are kept.
	maxText = 500
)

// Activity knows the queries that run, and the slowest ones of the last hour. It is safe
// for concurrent use.
type Activity struct {
	clock clock.Clock

	mu     sync.Mutex // guards what follows
	last   uint64     // id
	active map[uint64]*Running
	slots  [slowSlots]slot
	counts Counts
}

// slot holds the slowest queries of slotTime, a text once, the slowest first.
type slot struct {
	number int64 // slotTimes since 1970
	ended  []Ended
}

// Running is a query that has begun. Its owner calls Turn once it waits no longer, and End
// once.
type Running struct {
	a *Activity
	Active
}

// Active describes a query that has not ended.
type Active struct {
	ID      uint64
	Text    string // at most some 500 bytes
	Client  string
	Started time.Time
	Took    time.Duration // until now, or its end
	Waiting bool          // for its turn
}

// Ended describes a query that has ended, at Started + Took.
type Ended struct {
	Active
	Err string // why it has no answer; "": it has one
}

// Counts are those of all queries since the start. Waiting ones are not Running.
type Counts struct {
	Ended    uint64
	Failed   uint64 // of them, for no fault of the query
	Refused  uint64 // of them, by a limit
	Canceled uint64 // of them, because nobody waits for the answer any more
	Seconds  float64
	Running  int
	Waiting  int
}

// NewActivity returns an Activity without queries.
func NewActivity(c clock.Clock) *Activity {
	return &Activity{clock: c, active: make(map[uint64]*Running)}
}

// Begin notes that a query begins to wait for its turn.
func (a *Activity) Begin(text, client string) *Running {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	r := &Running{a, Active{ID: a.last, Text: cut(text), Client: client, Started: a.clock.Now(), Waiting: true}}
	a.active[r.ID] = r
	return r
}

// cut shortens a text, but not within an escaped byte.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for i := end - 1; i >= end-2; i-- {
		if text[i] == '%' {
			end = i
			break
		}
	}
	return text[:end] + "…"
}

// Turn notes that the query runs from now on.
func (r *Running) Turn() {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.Waiting = false
}

// End notes that the query has ended; err is nil if it has an answer.
func (r *Running) End(err error) {
	a := r.a
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.active, r.ID)
	now := a.clock.Now()
	r.Took = now.Sub(r.Started)
	a.counts.Ended++
	a.counts.Seconds += r.Took.Seconds()
	e := Ended{Active: r.Active}
	if err != nil {
		e.Err = a.counts.blame(err)
	}
	number := slotOf(now)
	s := &a.slots[number%int64(slowSlots)]
	if s.number != number {
		*s = slot{number: number}
	}
	s.ended = keep(s.ended, e)
}

func slotOf(t time.Time) int64 { return t.Unix() / int64(slotTime/time.Second) }

// blame counts an error, and returns what may be told of it: what went wrong inside is for
// the log.
func (c *Counts) blame(err error) string {
	var limit *LimitError
	var param *ParamError
	switch {
	case errors.As(err, &limit), errors.Is(err, context.DeadlineExceeded):
		c.Refused++
		return err.Error()
	case errors.As(err, &param):
		return err.Error()
	case errors.Is(err, context.Canceled):
		c.Canceled++
		return "canceled: nobody waited for the answer any more"
	}
	c.Failed++
	return "failed; the server's log says why"
}

// keep adds e to a list of the slowest, which has a text once.
func keep(list []Ended, e Ended) []Ended {
	if i := slices.IndexFunc(list, func(x Ended) bool { return x.Text == e.Text }); i >= 0 {
		if list[i].Took >= e.Took {
			return list
		}
		list = slices.Delete(list, i, i+1)
	}
	at, _ := slices.BinarySearchFunc(list, e, func(x, e Ended) int { return cmp.Or(cmp.Compare(e.Took, x.Took), cmp.Compare(x.ID, e.ID)) })
	if at >= slowestKept {
		return list
	}
	list = slices.Insert(list, at, e)
	return list[:min(len(list), slowestKept)]
}

// Report returns the queries that run or wait now, the oldest first, and the slowest that
// have ended within the last hour, to within a slot, the slowest first and a text once.
func (a *Activity) Report() (active []Active, slowest []Ended) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	for _, r := range a.active {
		x := r.Active
		x.Took = now.Sub(x.Started)
		active = append(active, x)
	}
	slices.SortFunc(active, func(x, y Active) int { return cmp.Compare(x.ID, y.ID) })
	for i := range a.slots {
		if a.slots[i].number <= slotOf(now)-int64(slowSlots) {
			continue // a whole slot at a time: a slow query may have displaced a later one in it
		}
		for _, e := range a.slots[i].ended {
			slowest = keep(slowest, e)
		}
	}
	return active, slowest
}

// Counts returns the counts of the moment.
func (a *Activity) Counts() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.counts
	for _, r := range a.active {
		if r.Waiting {
			c.Waiting++
		} else {
			c.Running++
		}
	}
	return c
}
