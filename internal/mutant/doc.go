// Package mutant plants mistakes, to see that the tests catch them. Built with the
// tag mutants, a program makes the one mistake that the environment variable
// CAIRN_MUTANT names; built without it, as all that is released is, none of them is
// in it. `make mutants` makes each of them in turn, and fails if one is not caught.
//
// A mistake is a condition beside what is right:
//
//	if mutant.On("ack-before-sync") {
//		return nil
//	}
//
// Its name, and the tests that are to catch it, stand in the list of
// internal/mutant/hunt.
package mutant
