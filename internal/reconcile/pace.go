package reconcile

import (
	"context"
	"time"

	"cairn/internal/clock"
)

const (
	// workTime is how long a Pacer lets work go on: no event waits longer for a core.
	workTime = 10 * time.Millisecond
	// restShare makes pauses twice as long as the work before: a third of one core is used.
	restShare = 2
	// stepsALook is how many steps go by between two looks at the clock.
	stepsALook = 32
)

// Pacer makes work gentle: it is done in slices, with pauses between them. It is for
// one goroutine.
type Pacer struct {
	clock clock.Clock
	begin time.Time // of the slice
	steps int
}

// NewPacer returns one whose first slice begins now.
func NewPacer(c clock.Clock) *Pacer { return &Pacer{clock: c, begin: c.Now()} }

// Step is called after each small piece of work. It pauses if the slice is over, and
// returns an error once ctx is done.
func (p *Pacer) Step(ctx context.Context) error {
	if p.steps++; p.steps%stepsALook != 0 {
		return nil
	}
	worked := p.clock.Now().Sub(p.begin)
	if worked < workTime {
		return ctx.Err()
	}
	t := time.NewTimer(restShare * worked)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	}
	p.begin = p.clock.Now()
	return nil
}
