package client

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Counter adds up increments of one series. It is safe for concurrent use; a nil
// Counter does nothing.
//
// All of it is in one word as long as one goroutine at a time increments. When two
// meet often, it gets cells on cache lines of their own.
type Counter struct {
	base  atomic.Int64
	cells atomic.Pointer[cells]
	met   atomic.Uint32 // how often two goroutines met at base
	_     [44]byte      // what is below is on another line
	series
}

const (
	// meetings is how often two goroutines meet before a counter gets cells: those that
	// meet once in a while need none.
	meetings = 4
	// maxCells bounds what a counter takes: 8 KiB.
	maxCells = 64
)

// cells are what a counter adds to once it is contended. Which one a goroutine takes is a
// hash of where its stack is; where two meet, the hash becomes another one.
type cells struct {
	multiplier atomic.Uint64 // odd
	shift      uint8
	cell       []cell
	_          [64]byte
	met        atomic.Uint64
}

// cell takes two lines, since processors fetch lines in pairs.
type cell struct {
	n atomic.Int64
	_ [120]byte
}

func newCells() *cells {
	n, bits := 8, uint8(3)
	for n < 4*runtime.GOMAXPROCS(0) && n < maxCells {
		n, bits = n*2, bits+1
	}
	m := &cells{shift: 64 - bits, cell: make([]cell, n)}
	m.multiplier.Store(rand.Uint64() | 1)
	return m
}

// Inc adds 1.
func (c *Counter) Inc() { c.Add(1) }

// Add adds n, which may be negative. Sums are exact up to 2^53 either way a second; beyond
// 2^63 they wrap.
func (c *Counter) Add(n int64) {
	if c == nil {
		return
	}
	if m := c.cells.Load(); m != nil {
		m.add(n)
		return
	}
	if v := c.base.Load(); !c.base.CompareAndSwap(v, v+n) {
		c.meet(n)
	}
}

// meet adds n after another goroutine was faster.
func (c *Counter) meet(n int64) {
	c.base.Add(n)
	if c.met.Add(1) == meetings {
		c.cells.CompareAndSwap(nil, newCells())
	}
}

func (m *cells) add(n int64) {
	var here byte
	// Stacks begin at multiples of 2 KiB at least. The address is only a hash: that a
	// stack may move, or another goroutine has the same cell, does no harm.
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 11
	cell := &m.cell[at*m.multiplier.Load()>>(m.shift&63)].n
	if v := cell.Load(); !cell.CompareAndSwap(v, v+n) {
		m.meet(cell, n)
	}
}

// meet adds n after another goroutine was faster. Two that meet all the time get
// another hash, and those that meet seldom seldom.
func (m *cells) meet(cell *atomic.Int64, n int64) {
	cell.Add(n)
	if k := m.met.Add(1); k >= 8 && k&(k-1) == 0 {
		m.multiplier.Store(rand.Uint64() | 1)
	}
}

// take returns what was added since the last take.
func (c *Counter) take() int64 {
	var n int64
	if c.base.Load() != 0 {
		n = c.base.Swap(0)
	}
	if m := c.cells.Load(); m != nil {
		for i := range m.cell {
			if cell := &m.cell[i].n; cell.Load() != 0 {
				n += cell.Swap(0)
			}
		}
	}
	return n
}
