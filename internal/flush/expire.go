package flush

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"cairn/internal/metric"
)

// expireEvery is the time between expiry passes: a partition of the finest tier is an
// hour, and a pass that finds nothing costs one sync.
const expireEvery = time.Minute

// sureAfter is how long other clocks must have confirmed the wall clock, at each pass, until the
// retention's clock follows it faster: time to see, and to set right, one that is not.
const sureAfter = 3 * time.Hour

// expiry is what the pump knows of its passes; guarded by Pump.flushing, but for due and
// expiring, which are the loop's, and those at the end.
type expiry struct {
	last     time.Time     // of the last pass, with its monotonic reading; zero: there was none
	sure     time.Duration // how long the clock was confirmed, until the last pass
	due      time.Time
	expiring complaint

	emptied    bool           // a coarsest tier lost a partition since the last good Collect began
	collecting atomic.Bool    // one is under way
	collects   sync.WaitGroup // its goroutine; ended with the loop's context
	removing   complaint      // that goroutine's
}

// Expire deletes what the retention no longer holds, and lets queries see that. It
// does nothing while flushes must wait. The loop calls it every minute; nobody else need, unless there is no loop.
func (p *Pump) Expire() error {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	if p.holding() {
		return nil
	}
	now, passed := p.o.Clock.Now(), time.Duration(0)
	if !p.expiry.last.IsZero() {
		passed = max(0, now.Sub(p.expiry.last))
	}
	sure := time.Duration(0)
	if p.o.Sure != nil && p.o.Sure() {
		sure = p.expiry.sure + passed
	}
	// Also on a disk that is nearly full: it is what makes room.
	done, err := p.store.Expire(metric.SecOf(now), passed, sure > sureAfter)
	if err != nil {
		return err
	}
	p.expiry.last, p.expiry.sure = now, sure
	p.republish(func() {}) // readers go by the clock of their snapshot, so also if nothing was deleted
	if done.Ranges == 0 && done.Events == 0 {
		return nil
	}
	p.o.Log.Info("what is older than the retention was deleted", "ranges", done.Ranges, "events", done.Events, "more", done.More)
	p.expiry.emptied = p.expiry.emptied || done.Coarsest
	return nil
}

// republish lets queries see the store as it is now. with is called at the instant at which
// they do.
func (p *Pump) republish(with func()) {
	next := share(p.store.Snapshot())
	p.view.Lock()
	with()
	old := p.snapshot
	p.snapshot = next
	p.view.Unlock()
	old.release(p.o.Log)
}

// expire is Expire, a minute after the last time, with its errors logged: the first of
// several that say the same, and their end. What failed is tried again a minute later.
func (p *Pump) expire(ctx context.Context) {
	now := p.o.Clock.Now()
	if p.holding() || now.Before(p.expiry.due) && p.expiry.due.Sub(now) <= expireEvery {
		return
	}
	p.expiry.due = now.Add(expireEvery)
	p.expiry.expiring.tell(p.o.Log, p.Expire(), "what is older than the retention could not be deleted; it is tried again every minute", "what is older than the retention can be deleted again")
	p.collect(ctx)
}

// collect begins a Collect if series may have lost their last chunk. It looks through keys
// for seconds, in which the loop must go on.
func (p *Pump) collect(ctx context.Context) {
	p.flushing.Lock()
	emptied := p.expiry.emptied
	p.flushing.Unlock()
	if !emptied || !p.expiry.collecting.CompareAndSwap(false, true) {
		return
	}
	p.flushing.Lock()
	p.expiry.emptied = false
	p.flushing.Unlock()
	p.expiry.collects.Go(func() {
		defer p.expiry.collecting.Store(false)
		removed, err := p.Collect(ctx)
		if errors.Is(err, context.Canceled) {
			return
		}
		p.expiry.removing.tell(p.o.Log, err, "series without data could not be removed from the index; it is tried again every minute", "series without data can be removed from the index again")
		if err != nil {
			p.flushing.Lock()
			p.expiry.emptied = true
			p.flushing.Unlock()
		}
		if removed > 0 {
			p.o.Log.Info("series of which nothing is kept any more were removed from the index", "series", removed)
		}
	})
}
