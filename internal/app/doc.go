// Package app is the composition root: it builds the parts of a process from
// plain constructors, runs them, and closes them in reverse order under one
// deadline.
//
// Package cli calls it. It may import every package; no other package imports
// it but cli. It decides nothing about runs: where two rooms do not know each
// other (connectors and activities, the book of runs and the API), the adapter
// between them stands here.
//
// Invariants: New binds nothing, Run blocks until its context ends, what was
// opened here is closed here; a process is ready only when its build is the
// current one and everything it needs has answered.
package app
