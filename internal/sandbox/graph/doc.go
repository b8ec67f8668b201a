// Package graph is the stand-in for SharePoint behind Microsoft Graph: sites, libraries,
// files, upload sessions, delta and subscriptions, on tables of its own.
//
// The sandbox mounts it under /graph. What Graph itself serves is below /v1.0 and wants a
// token; the addresses of bytes (/_layouts, /_api) are those of SharePoint: they are
// signed, need no token, and refuse one. The content of a file is rows of chunks, or is
// made of a number: a file of 250 MB takes no room then.
//
// Invariants: changes of a library are numbered in the order in which they commit; a
// change and the notifications of it are one transaction; what is documented as opaque
// here (ids, tags, tokens) is nothing that a client could make. It imports exchange,
// faults, login, ordered, record and storage.
package graph
