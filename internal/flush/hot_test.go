package flush

import (
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"cairn/internal/metric"
)

// TestHotDuringFlushes walks lists that flushes take away and use again for series
// that are new: no series gets events that are not its own.
func TestHotDuringFlushes(t *testing.T) {
	r := newRig(t, vfs.NewMem(), 1)
	const rounds, most = 200, 40_000
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// At most 2 seconds are open, with an event a series each. A list that is
				// used again would show more, or a series that was not there.
				top, all := r.pump.Hot(5, 0, metric.MaxSec)
				var sum uint64
				for _, h := range top {
					sum += h.Events
				}
				if sum > all || len(top) > 0 && top[0].Events > 2 {
					t.Errorf("%d of %d events, the busiest has %d", sum, all, top[0].Events)
					return
				}
			}
		})
	}
	for i := range rounds {
		for range 2 {
			r.add(0, 1000+i*(most-1000)/rounds, 0)
			r.clock.Advance(time.Second)
		}
		// As a flush does, without the disk, which would leave the walks time to end.
		w := metric.SecOf(r.clock.Now())
		r.agg.Spill(w)
		r.pump.view.Lock()
		d := r.agg.Detach(w)
		r.pump.view.Unlock()
		d.Release()
	}
	close(stop)
	wg.Wait()
	r.close()
}
