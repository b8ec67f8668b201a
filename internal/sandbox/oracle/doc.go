// Package oracle is the stand-in for Oracle Fusion Cloud SCM: the REST resources
// itemsV2 with its children and inventoryOnhandBalances, as Oracle's guides
// describe them (fscmRestApi 11.13.18.05), on the sandbox's own tables.
//
// The exchange calls it; the sandbox seeds its tables. It reads what Oracle
// documents, not only what one client sends: both forms of q, framework
// versions 1 to 9, child paths, batches, base64 attachments. It shares no code
// with any client.
//
// Invariants: a path id is read from links and never needs to be built; text of
// q reaches SQL as a bind variable; a batch is applied whole or not at all; a
// user without roles finds empty collections, not an error.
//
// It imports storage, exchange, login and ordered.
package oracle
