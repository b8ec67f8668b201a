// Package check looks at a whole directory of flows before anything runs: each
// file by itself, then the proofs, which need all of them.
//
// The CLI prints a Report (`patchbay check`), app refuses to apply a directory
// that has errors, and the console may show either. It imports flowfile, flow
// and fault and reads an fs.FS; it contacts nothing by itself: Online compares flows
// with what it is told of their systems.
//
// The residency proof (promise 5) follows every value of every flow from the column that
// it is read of to where it ends: ways.go says what an expression takes, trace.go which
// way each pattern has, residency.go what is restricted and where systems are.
//
// Invariants: every problem is found in one pass and reported once, in the order
// of files and lines; a proof speaks only of flows that compiled, so that one
// mistake does not hide behind another; an empty Report means that every flow
// has a plan.
package check
