// Package batch writes and reads the multipart bodies of an OData $batch.
//
// Connectors of OData systems call it: Compose makes the body of a request out of
// operations, Parse the answers to them, in their order. It does no I/O, and knows
// neither which operations a vendor takes nor what its errors mean.
//
// Invariants: lines end with CRLF, the last one too; a body of an operation has no
// line breaks of its own, so that no value can end a part; an answer that ends where
// more is due is an error and never the last one. It imports strictjson.
package batch
