// Package postgres reads and writes tables of a PostgreSQL database: pages and whole
// tables, rows by key, what changes, and writes by key, by version and by marks.
//
// App builds it through the registry; flows see it by the interfaces of connector. It
// imports connector, fault, pgx and pglogrepl. docs/postgres.md says how a connection is
// written, and its options.
//
// Invariants: identifiers are quoted and come from connections.yaml, data travels as JSON
// parameters, exact in both directions; only columns asked for are read, and the first key,
// which is the page token (promise 5); a chunk of a write is one transaction with its
// marks, a refused one is halved until the rows at fault are alone (promise 2); a value
// that PostgreSQL would take and change is refused; a feed tells of the columns it was
// given, by their numbers, and the log is confirmed by Confirm alone. The only DDL is a
// temporary table and the publication of a feed. Keys that are one to the database only
// (by collation, 1 and 1.0) are written one by one, in their order: no FoldKey.
package postgres
