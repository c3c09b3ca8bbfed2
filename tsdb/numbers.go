package tsdb

import (
	"cmp"
	"slices"
	"sync"
)

// numbering gives out the numbers of metrics or of series. A number whose owner was
// removed is given out again, the smallest first, but not while a snapshot is open
// that may hold chunks under it: so that what is kept by number does not grow for ever
// where series come and go.
type numbering struct {
	top     uint32   // the highest one that was given out
	free    []uint32 // descending
	waiting []retired
}

// retired is numbers that were removed before an epoch began.
type retired struct {
	numbers []uint32
	epoch   uint64
}

// load takes those of n numbers that are not used.
func (n *numbering) load(count int, used func(i int) bool) {
	n.top = uint32(count)
	for i := count - 1; i >= 0; i-- {
		if !used(i) {
			n.free = append(n.free, uint32(i)+1)
		}
	}
}

// nth returns the number that is given out as the kth from now, from 0.
func (n *numbering) nth(k int) uint64 {
	if k < len(n.free) {
		return uint64(n.free[len(n.free)-1-k])
	}
	return uint64(n.top) + uint64(k-len(n.free)) + 1
}

// take gives out the next k numbers.
func (n *numbering) take(k int) {
	again := min(k, len(n.free))
	n.free = n.free[:len(n.free)-again]
	n.top += uint32(k - again)
}

// retire takes numbers back whose removal was committed before the epoch began.
func (n *numbering) retire(list []uint32, epoch uint64) {
	if len(list) > 0 {
		n.waiting = append(n.waiting, retired{list, epoch})
	}
}

// release lets go of the numbers that no snapshot can know: the oldest one is of epoch
// oldest.
func (n *numbering) release(oldest uint64) {
	i := 0
	for ; i < len(n.waiting) && n.waiting[i].epoch <= oldest; i++ {
		n.free = append(n.free, n.waiting[i].numbers...)
	}
	if i > 0 {
		n.waiting = slices.Delete(n.waiting, 0, i)
		slices.SortFunc(n.free, func(a, b uint32) int { return cmp.Compare(b, a) })
	}
}

// epochs knows how old the oldest open snapshot is. An epoch ends with each removal.
type epochs struct {
	mu   sync.Mutex // guards those below
	now  uint64
	open map[uint64]int // snapshots, by the epoch in which they were taken
}

// enter is called before a snapshot is taken.
func (e *epochs) enter() (epoch uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open == nil {
		e.open = make(map[uint64]int)
	}
	e.open[e.now]++
	return e.now
}

// leave is called when it was closed.
func (e *epochs) leave(epoch uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open[epoch]--; e.open[epoch] == 0 {
		delete(e.open, epoch)
	}
}

// next begins an epoch, after a removal was committed: snapshots of it do not hold
// what was removed.
func (e *epochs) next() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now++
	return e.now
}

// oldest returns the epoch of the oldest open snapshot, or the current one.
func (e *epochs) oldest() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	oldest := e.now
	for epoch := range e.open {
		oldest = min(oldest, epoch)
	}
	return oldest
}
