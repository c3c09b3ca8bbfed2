package promql

import (
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// Bounds on label_replace and label_join, each of which may make a label many times as long as the
// one that it is made of.
const (
	// maxMade is how many bytes the labels that a query makes may have, for each series.
	maxMade = 16 << 10
	// usualLabel is how many bytes a series' own label is taken for. Where one is longer, what is made
	// of it is as many times longer.
	usualLabel = 256
)

// made is the labels that an expression makes, and how long they may be.
type made map[string]int

func (m made) of(label string) int {
	if n, ok := m[label]; ok {
		return n
	}
	return usualLabel
}

func (m made) total() (n int) {
	for label, size := range m {
		n += len(label) + size
	}
	return n
}

// checkLabels refuses functions of labels that would take too much to compile or to keep.
func checkLabels(tree parser.Expr) error {
	_, err := labelsMade(tree)
	return err
}

// labelsMade bounds the labels that an expression has besides the series' own. Where several
// expressions become one, a label may come from any of them.
func labelsMade(n parser.Node) (made, error) {
	all := made{}
	for child := range parser.ChildrenIter(n) {
		m, err := labelsMade(child)
		if err != nil {
			return nil, err
		}
		for label, size := range m {
			all[label] = max(all[label], size)
		}
	}
	c, ok := n.(*parser.Call)
	if !ok || c.Func.Name != "label_replace" && c.Func.Name != "label_join" {
		return all, nil
	}
	texts := make([]string, len(c.Args)) // but for the vector
	for i, arg := range c.Args[1:] {
		text, ok := unwrapped(arg).(*parser.StringLiteral)
		if !ok {
			return nil, badf("invalid parameter \"query\": %s takes texts that are written out", c.Func.Name)
		}
		texts[i+1] = text.Val
	}
	size := 0
	if c.Func.Name == "label_replace" {
		if err := checkRegexp(texts[4]); err != nil {
			return nil, err
		}
		// Each reference is at most all of the source.
		size = len(texts[2]) + strings.Count(texts[2], "$")*all.of(texts[3])
	} else {
		for _, source := range texts[3:] {
			size += len(texts[2]) + all.of(source)
		}
	}
	all[texts[1]] = max(all.of(texts[1]), size) // it keeps what it is where the expression does not match
	if all.total() > maxMade {
		return nil, badf("invalid parameter \"query\": %s may make labels of more than %d bytes here: "+
			"refer to fewer labels, or nest fewer such functions", c.Func.Name, maxMade)
	}
	return all, nil
}
