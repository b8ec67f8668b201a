// Package rest reads and writes systems that have no connector of their own: those
// that speak JSON over HTTP in the usual ways.
//
// App builds it through the registry; flows see it as a connector.PageReader,
// KeyReader, Upserter (Conditional where the writes are by key or carry an
// idempotency key) and Prober. All of it is set by options of the connection, which
// docs/rest.md lists; an option TABLE.NAME is NAME of one table. It imports
// connector and fault.
//
// Invariants: values reach an address only escaped, and none can be a step up in a
// path; only the columns asked for leave the connector (promise 5); pages end where
// the system says so, or at an empty one, never at a short one; a POST shows nothing
// afterwards, so a lost answer stays a doubt (promise 2). Limits, sign-in, size and
// redirects are the transport's.
package rest
