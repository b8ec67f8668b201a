// Package ibm reads documents of IBM FileNet Content Manager over its Content
// Services GraphQL API, by class and properties.
//
// App builds it through the registry; flows see it as a connector.PageReader and
// KeyReader, doctor as a Prober, `check --online` as a Describer. It imports
// connector and fault and speaks GraphQL by itself: its queries are few and fixed.
//
// Invariants: only selected columns are in a query (promise 5); every value goes as
// a variable, and in the search language that one of them is written in, as an
// escaped literal; an answer with errors is a failure, whatever its status and
// however much data stands beside them; a page without its pageInfo is none; pages
// follow dateLastModified and id, so that a document that changes while all are read
// moves to the end and is not passed over.
package ibm
