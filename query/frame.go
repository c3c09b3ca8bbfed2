package query

import (
	"slices"
	"strconv"
	"strings"

	"cairn/internal/metric"
)

// Grouping says which series are one group: those that have the same values of some tag
// keys.
type Grouping struct {
	Mode Mode
	Keys []string // of By and Without
	// Name keeps metrics apart too.
	Name bool
}

// Mode is how a Grouping reads its keys.
type Mode uint8

// The modes.
const (
	ByKeys      Mode = iota // the keys' values make the group; no keys: all series are one
	WithoutKeys             // the values of all other keys
	EachTagset              // every tagset is a group
)

// Group is one group of a frame. Its buckets must not be changed: others may have them too.
type Group struct {
	Metric string // if the grouping keeps metrics apart
	Tags   []GroupTag
	column
}

// GroupTag is a tag key that was grouped by, with the values that the series of
// the group have in common; a series may have several values for one key.
type GroupTag struct {
	Key    string
	Values []string
}

// grouper numbers groups in the order in which they are first asked for.
type grouper struct {
	by     Grouping
	number map[string]int
	names  []string // by number: what tells the group from others
	key    []metric.Tag
}

func newGrouper(by Grouping) *grouper { return &grouper{by: by, number: make(map[string]int)} }

// of returns the number of the group that a series of a metric belongs to.
func (g *grouper) of(name string, ts metric.Tagset) int {
	text := ""
	switch {
	case g.by.Mode == EachTagset:
		text = string(ts)
	case g.by.Mode == WithoutKeys || len(g.by.Keys) > 0:
		g.key = g.key[:0]
		for t := range ts.All() {
			if slices.Contains(g.by.Keys, t.Key) == (g.by.Mode == ByKeys) {
				g.key = append(g.key, t)
			}
		}
		// The canonical form tells {a: "b,c"} from {a: [b, c]}.
		text = string(metric.NewTagset(g.key))
	}
	if g.by.Name {
		text = strconv.Itoa(len(name)) + ":" + name + text // a name may have any bytes
	}
	return g.named(text)
}

// named returns the number of the group that a text tells from others.
func (g *grouper) named(text string) int {
	no, ok := g.number[text]
	if !ok {
		no = len(g.names)
		g.number[text] = no
		g.names = append(g.names, text)
	}
	return no
}

// group describes a numbered group.
func (g *grouper) group(no int) *Group {
	out, text := new(Group), g.names[no]
	if g.by.Name {
		length, rest, _ := strings.Cut(text, ":")
		n, err := strconv.Atoi(length)
		if err != nil {
			panic("BUG: a group without its name's length: " + text)
		}
		out.Metric, text = rest[:n], rest[n:]
	}
	for t := range metric.Tagset(text).All() {
		if n := len(out.Tags); n > 0 && out.Tags[n-1].Key == t.Key {
			out.Tags[n-1].Values = append(out.Tags[n-1].Values, t.Value)
			continue
		}
		out.Tags = append(out.Tags, GroupTag{t.Key, []string{t.Value}})
	}
	return out
}

// Frame is the buckets of some series in the steps of a grid, by group.
type Frame struct {
	Kind metric.Kind
	Grid Grid
	// Groups with an event in the grid, by no order that means anything.
	Groups []*Group
	// Matched is how many series have an event in the grid.
	Matched int
	// Overflow reports whether one of them is where tagsets were folded into.
	Overflow bool
}

// Sums returns the sums of a counter's group, one a step; NaN: no event. The caller must
// not change them.
func (g *Group) Sums() []float64 { return g.sums }
