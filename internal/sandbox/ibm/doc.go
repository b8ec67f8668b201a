// Package ibm is the stand-in for IBM FileNet Content Manager: the Content Services
// GraphQL API over one object store, with documents of customers, as IBM publishes
// the schema and describes the search language.
//
// The exchange calls it; the sandbox seeds its table. A real executor answers: a
// wrong field, a wrong type of a variable and a wrong property are refused as the
// vendor refuses them, with status 200 and errors. It shares no code with any client.
//
// It answers searches, documents by ID, class descriptions, introspection, content,
// and mutations of properties. It has no folders, check-outs, uploads and webhooks.
//
// Invariants: text of a search reaches SQL as a bind variable; a token of a page is
// known for ten minutes and continues by the order of the search, not by a count; a
// mutation that fails undoes itself alone. It imports storage, exchange, login and
// graph-gophers/graphql-go, which executes GraphQL by the schema as IBM writes it.
package ibm
