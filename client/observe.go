package client

import (
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// Gauge keeps the last reading of one series: of each second in which there was one, the
// last is sent. It is safe for concurrent use; a nil Gauge does nothing.
type Gauge struct {
	bits atomic.Uint64
	set  atomic.Bool
	series
}

// Set notes a reading. NaN, infinities and what is beyond ±1e290 are not noted.
func (g *Gauge) Set(v float64) {
	if g == nil || !finite(v) {
		return
	}
	g.bits.Store(math.Float64bits(v))
	if !g.set.Load() {
		g.set.Store(true)
	}
}

// take returns the last reading since the last take.
func (g *Gauge) take() (float64, bool) {
	if !g.set.Swap(false) {
		return 0, false
	}
	return math.Float64frombits(g.bits.Load()), true
}

func finite(v float64) bool { return v <= 1e290 && v >= -1e290 }

// Distribution takes observations of one series, all of which are sent, packed. It is
// safe for concurrent use; a nil Distribution does nothing.
//
// Lines of distributions and of sets have no time: the server counts them when they come.
type Distribution struct {
	c *Client
	series
	mu     sync.Mutex // guards values
	values []float64
}

// maxValues is how many observations are kept as numbers; then they become lines.
const maxValues = 4096

// Observe notes an observation, in the unit that the metric has. NaN, infinities and what
// is beyond ±1e290 are not noted.
func (d *Distribution) Observe(v float64) {
	if d == nil || !finite(v) || d.c.closed.Load() {
		return
	}
	d.mu.Lock()
	d.values = append(d.values, v)
	if len(d.values) >= maxValues {
		d.c.spill(d.low, func(b []byte) ([]byte, int) { return d.appendLines(b) })
	}
	d.mu.Unlock()
}

// appendLines writes the observations, and forgets them. The caller holds mu.
func (d *Distribution) appendLines(b []byte) (out []byte, lines int) {
	start := len(b)
	for i, v := range d.values {
		if i == 0 || len(b)-start+len(d.suffix)+number > d.c.lineMax() {
			if i > 0 {
				b = append(append(b, d.suffix...), '\n')
			}
			start = len(b)
			b = append(b, d.prefix...)
			lines++
		} else {
			b = append(b, ':')
		}
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	if len(d.values) > 0 {
		b = append(append(b, d.suffix...), '\n')
	}
	d.values = d.values[:0]
	return b, lines
}

// Timer is a Distribution of durations in milliseconds. A nil Timer does nothing.
type Timer struct{ d *Distribution }

// Observe notes how long something took.
func (t *Timer) Observe(d time.Duration) {
	if t != nil {
		t.d.Observe(float64(d) / float64(time.Millisecond))
	}
}

// Time begins to measure, and returns what ends it: defer t.Time()().
func (t *Timer) Time() func() {
	if t == nil {
		return func() {}
	}
	began := time.Now()
	return func() { t.Observe(time.Since(began)) }
}

// Set counts the different members of one series. It is safe for concurrent use; a nil
// Set does nothing.
type Set struct {
	c *Client
	series
	mu      sync.Mutex // guards members
	members map[string]struct{}
}

// maxMember is the longest member in bytes.
const maxMember = 255

// Add notes a member. One that is empty, longer than 255 bytes, not UTF-8, or has '|' or
// a control character in it is refused: to change it could make two members one.
func (s *Set) Add(member string) {
	if s == nil || s.c.closed.Load() {
		return
	}
	if member == "" || len(member) > maxMember || !utf8.ValidString(member) || strings.ContainsFunc(member, func(r rune) bool { return r == '|' || unicode.IsControl(r) }) {
		s.c.refuse(s.prefix[:len(s.prefix)-1], "a member of a set that is empty, longer than 255 bytes, or has '|' or a control character in it")
		return
	}
	s.mu.Lock()
	if s.members == nil {
		s.members = map[string]struct{}{}
	}
	s.members[member] = struct{}{}
	if len(s.members) >= maxValues {
		s.c.spill(s.low, func(b []byte) ([]byte, int) { return s.appendLines(b) })
	}
	s.mu.Unlock()
}

// appendLines writes the members, and forgets them. The caller holds mu.
func (s *Set) appendLines(b []byte) (out []byte, lines int) {
	for m := range s.members {
		b = append(append(append(append(b, s.prefix...), m...), s.suffix...), '\n')
	}
	lines = len(s.members)
	clear(s.members)
	return b, lines
}
