// Package clock is the only reader of the wall clock.
//
// System time is the wall clock at start plus the monotonic time elapsed since,
// so that a step of the wall clock, by NTP or by hand, never reorders buckets
// while the process runs. Manual stands still until it is told to move.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time. Its two implementations are System and Manual.
type Clock interface {
	// Now returns the current time in UTC. It never goes backwards.
	Now() time.Time
}

// System is the clock of the machine. Make it with NewSystem.
type System struct{ base time.Time }

// NewSystem reads the wall clock, once.
func NewSystem() *System { return &System{base: time.Now()} }

// Now implements Clock.
func (s *System) Now() time.Time {
	// Since uses the monotonic reading in base, and Add keeps none that a later
	// comparison could confuse with wall time.
	return s.base.Add(time.Since(s.base)).UTC()
}

// maxApart is how far the wall clock may be from a System's, which does not follow its steps.
const maxApart = time.Minute

// Sure reports whether others confirm what the clock shows: the kernel says that the wall clock is
// synchronized, and the two agree. False also means that it is not known.
func (s *System) Sure() bool { return synchronized() && s.agrees(time.Now()) }

func (s *System) agrees(wall time.Time) bool {
	return wall.Round(0).Sub(s.Now().Round(0)).Abs() <= maxApart // Round strips the monotonic reading
}

// Manual is a clock for tests. It is safe for concurrent use.
type Manual struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// NewManual returns a clock that shows t until Advance.
func NewManual(t time.Time) *Manual { return &Manual{now: t.UTC()} }

// Now implements Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock by d, which must not be negative.
func (m *Manual) Advance(d time.Duration) {
	if d < 0 {
		panic("BUG: a clock does not go backwards")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}
