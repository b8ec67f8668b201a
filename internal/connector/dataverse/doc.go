// Package dataverse reads and writes Microsoft Dataverse over its Web API, reads
// its change tracking, and receives and registers its webhooks.
//
// App builds it through the registry. It imports connector, batch, hook, sheet and
// fault. Tables of a connection bear their logical names. Rows have the same names
// and values whichever way they came: lookups as _name_value, choices as numbers,
// times in UTC, decimals without zeros at their end. A lookup that the connection says
// refers to a table has its own name instead.
//
// Invariants: reads name their columns, and only those leave this package
// (promise 5); links are followed on the connection's own host only; writes are
// upserts by alternate key, whose columns go into the address, never the body.
//
// Options: api_version (v9.2), tag (marks writes that give no origin; "patchbay",
// empty sends none), date_only (columns without a time, with commas: a webhook does
// not say so), bulk (rows of one UpsertMultiple, 200), batch (tables without it).
package dataverse
