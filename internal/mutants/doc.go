// Package mutants tests the tests: it plants one known bug after the other and
// requires that the suite which claims to catch it fails.
//
// It holds tests only. A mutant is a change of the text of some sources, which the
// compiler is given in the place of the files: nothing of it is in the tree, and
// nothing switches it on in a program. A text that is not there any more fails the
// test: the bug has to be planted where the code is now.
//
// The default plants the three that are cheapest; `make mutants` plants all, and runs
// each suite without its mutant first. `make residency-mutants` plants leaks of restricted
// values, all at once and each with a value of its own.
package mutants
