// Package lint holds the rules of the house as tests: which package may import
// which, who may read the clock, how long a file may be. It has no code.
package lint
