// Package sap is the stand-in for SAP S/4HANA: sales orders (OData V2 and V4),
// business partners and the open items of accounting, as SAP's API hub, metadata and
// notes describe them, on the sandbox's own tables.
//
// The exchange calls it; the sandbox seeds its tables. It reads what SAP documents,
// not only what one client sends: filters and paths of both versions, expands,
// MERGE, deep inserts, $batch with change sets. It shares no code with any client.
//
// Invariants: whatever changes something needs a CSRF token with the cookies it came
// with; a row with a version is changed only under that version; text of a filter
// reaches SQL as a bind variable; a change set is applied whole or not at all. V2
// answers JSON to who asks for it and nothing else: no Atom is written here.
//
// It imports storage, exchange, login and ordered.
package sap
