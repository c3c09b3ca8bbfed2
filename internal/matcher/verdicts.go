package matcher

import "sync"

// Steps is about how many steps MatchValue takes for each byte of a value, where it runs a regular
// expression; else 0. A step takes some 10 ns.
func (m *Matcher) Steps() int { return m.steps }

// Verdicts returns what is known of values that the regular expression was tried on; nil if
// there is none.
func (m *Matcher) Verdicts() *Verdicts { return m.verdicts }

// Verdicts remembers whether values match, by the numbers that somebody has given them: two
// bits for each number. It is safe for concurrent use.
type Verdicts struct {
	mu    sync.Mutex
	of    any // by whom and when the numbers were given; guards those below
	known []uint64
	match []uint64
}

// Get returns the verdict on a value; known is false if there is none of those numbers.
func (v *Verdicts) Get(of any, no uint32) (match, known bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	word, bit := int(no/64), uint64(1)<<(no%64)
	if v.of != of || word >= len(v.known) || v.known[word]&bit == 0 {
		return false, false
	}
	return v.match[word]&bit != 0, true
}

// Set remembers a verdict, and forgets those on other numbers.
func (v *Verdicts) Set(of any, no uint32, match bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of != of {
		v.of, v.known, v.match = of, nil, nil
	}
	word, bit := int(no/64), uint64(1)<<(no%64)
	for word >= len(v.known) {
		v.known, v.match = append(v.known, 0), append(v.match, 0)
	}
	v.known[word] |= bit
	if match {
		v.match[word] |= bit
	}
}
