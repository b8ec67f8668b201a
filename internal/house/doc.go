// Package house holds the building rules of this repository as data and checks
// them: which package may import which (table.go, the import table of the
// design), and what every source file has to look like.
//
// Nobody imports it; its own tests run the rules over the whole module, so that
// a broken rule is a failed `make test`. The linters know the part of the table
// that concerns libraries (depguard in .golangci.yml), for an answer inside the
// editor; where the two differ, the table wins.
//
// It imports the standard library only and asks `go list` for the import graph,
// so it sees what the compiler sees.
//
// Invariants: a package that no row names is a violation, never a pass; a row
// that no package answers to is one, too, unless it is marked as ahead.
package house
