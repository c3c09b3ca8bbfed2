package metric

import "fmt"

// Kind says how the events of a metric add up. The numbers are stored on disk
// (docs/format.md) and must not change.
type Kind uint8

const (
	Counter      Kind = 1 // a sum of increments
	Gauge        Kind = 2 // last, min, max, sum and count of readings
	Distribution Kind = 3 // a sketch of observations
	Set          Kind = 4 // the number of different members
)

// Kinds lists all kinds, by number.
var Kinds = [...]Kind{Counter, Gauge, Distribution, Set}

// String returns the name that the API and the documents use.
func (k Kind) String() string {
	switch k {
	case Counter:
		return "counter"
	case Gauge:
		return "gauge"
	case Distribution:
		return "distribution"
	case Set:
		return "set"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Valid reports whether k is one of the four kinds.
func (k Kind) Valid() bool { return k >= Counter && k <= Set }
