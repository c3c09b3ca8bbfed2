package query

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Expr is arithmetic between queries: + - * / and parentheses over numbers and letters,
// each of which stands for a query.
type Expr struct {
	text string
	root node
}

// node is an operation on two nodes, a letter or a number.
type node struct {
	op     byte // one of + - * /, or 0
	of     []node
	letter byte // or 0
	number float64
}

// maxExpr bounds an expression's text, and with it the depth of its nodes.
const maxExpr = 1000

// ParseExpr reads an expression such as `a / (a + b) * 100`.
func ParseExpr(text string) (*Expr, error) {
	if len(text) > maxExpr {
		return nil, fmt.Errorf("the expression has %d bytes; %d are allowed", len(text), maxExpr)
	}
	p := exprParser{text: text}
	root, err := p.sum()
	if err == nil && p.peek() != 0 {
		err = p.fail("an operator, one of + - * /,")
	}
	if err != nil {
		return nil, err
	}
	x := &Expr{text, root}
	if x.Letters() == "" {
		return nil, fmt.Errorf("expression %q has no letter; each query has one, such as a in a / b", text)
	}
	return x, nil
}

// String returns the text.
func (x *Expr) String() string { return x.text }

// Letters returns the letters in it, ascending, each once.
func (x *Expr) Letters() string {
	var out []byte
	var walk func(n *node)
	walk = func(n *node) {
		if n.letter != 0 {
			out = append(out, n.letter)
		}
		for i := range n.of {
			walk(&n.of[i])
		}
	}
	walk(&x.root)
	slices.Sort(out)
	return string(slices.Compact(out))
}

// Value returns the expression's value where the letters have those that of returns. It is
// NaN, which stands for none, if an operand has none or it would be infinite.
func (x *Expr) Value(of func(letter byte) float64) float64 {
	v := x.root.value(of)
	if math.IsInf(v, 0) {
		return math.NaN()
	}
	return v
}

func (n *node) value(of func(letter byte) float64) float64 {
	switch {
	case n.letter != 0:
		return of(n.letter)
	case n.op == 0:
		return n.number
	}
	a, b := n.of[0].value(of), n.of[1].value(of)
	switch n.op {
	case '+':
		return a + b
	case '-':
		return a - b
	case '*':
		return a * b
	}
	if q := a / b; !math.IsInf(q, 0) {
		return q
	}
	return math.NaN() // else what is divided by it would be 0
}

type exprParser struct {
	text string
	at   int
}

// peek returns the next byte that is no space; 0: there is none.
func (p *exprParser) peek() byte {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t') {
		p.at++
	}
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *exprParser) fail(wanted string) error {
	have := "its end"
	if p.peek() != 0 {
		have = strconv.Quote(p.text[p.at:])
	}
	return fmt.Errorf("expression %q: %s is expected at %s; use letters a to z, numbers, + - * / and parentheses", p.text, wanted, have)
}

func (p *exprParser) sum() (node, error)     { return p.chain("+-", p.product) }
func (p *exprParser) product() (node, error) { return p.chain("*/", p.factor) }

// chain reads operands between operators of one rank, from the left.
func (p *exprParser) chain(ops string, operand func() (node, error)) (node, error) {
	left, err := operand()
	for err == nil {
		op := p.peek()
		if op == 0 || op != ops[0] && op != ops[1] {
			break
		}
		p.at++
		var right node
		right, err = operand()
		left = node{op: op, of: []node{left, right}}
	}
	return left, err
}

func (p *exprParser) factor() (node, error) {
	c := p.peek()
	switch {
	case c == '(':
		p.at++
		n, err := p.sum()
		if err == nil && p.peek() != ')' {
			err = p.fail("a closing parenthesis")
		}
		p.at++
		return n, err
	case c == '-':
		p.at++
		n, err := p.factor()
		return node{op: '-', of: []node{{}, n}}, err
	case c >= 'a' && c <= 'z':
		p.at++
		return node{letter: c}, nil
	case c >= '0' && c <= '9' || c == '.':
		begin := p.at
		for p.at < len(p.text) && (p.text[p.at] >= '0' && p.text[p.at] <= '9' || p.text[p.at] == '.') {
			p.at++
		}
		v, err := strconv.ParseFloat(p.text[begin:p.at], 64)
		if err != nil {
			p.at = begin
			return node{}, p.fail("a number")
		}
		return node{number: v}, nil
	}
	return node{}, p.fail("a letter, a number or a parenthesis")
}
