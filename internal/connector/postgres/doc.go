// Package postgres reads and writes tables of a PostgreSQL database.
//
// App builds it through the registry; flows see it as a connector.PageReader,
// KeyReader, Upserter (Conditional, with marks) and Prober. It imports connector,
// fault and pgx. docs/postgres.md says how a connection is written, and its options.
//
// Invariants: identifiers are quoted and come from connections.yaml, data travels as
// JSON parameters, exact in both directions; only columns asked for are read, and the
// first key, which orders the pages and is the page token (promise 5); a chunk of a
// write is one transaction with the marks of its rows, and a refused one is halved
// until the rows at fault are alone (promise 2); whoever asks for a mark raises its
// fence. No DDL is issued. Keys that are one to the database only (by collation, 1
// and 1.0) are refused in one statement and so written one by one, in their order:
// no FoldKey.
package postgres
