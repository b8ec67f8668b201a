// Package storage is what the stand-in systems keep their rows in: tables
// described as Go data, rows read by a predicate tree, writes in transactions.
//
// Two stores implement it. Postgres is the sandbox as it is meant: the tables
// are real ones in a database of its own, so they and the call record survive
// every kill. Memory is the lean sandbox, a benchmark peer. Both are driven by
// the same protocol code, and a property test holds their answers equal.
//
// Invariants: text of a request reaches SQL as a bind variable only; names come
// from the table definitions; a predicate knows three truth values, as SQL does;
// rows handed out are read-only.
package storage
