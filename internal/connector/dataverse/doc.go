// Package dataverse reads and writes Microsoft Dataverse over its Web API.
//
// App builds it through the registry; flows see it as a connector.PageReader,
// Upserter, KeyReader and Prober. It imports connector and fault.
//
// Reads always name their columns in $select, and only those leave this package:
// annotations and the primary key that Dataverse adds are dropped (promise 5).
// nextLink is followed verbatim, with the same Prefer, on the same host only.
//
// Writes are upserts by alternate key, which Dataverse makes repeatable: one row
// is a PATCH of its key address, several are UpsertMultiple in chunks, each one
// transaction. A chunk that is refused is repeated row by row, so that every row
// has an outcome of its own. Key columns go into the address, never the body. A
// key whose value holds one of / < > * % & : \ ? + cannot be addressed, as
// Microsoft documents, and is refused for its row alone.
//
// Options: api_version (default v9.2), tag (text that marks our writes for
// plug-ins and loop suppression, default "patchbay"; empty sends none), bulk
// (rows of one UpsertMultiple, default 200; 1 writes row by row).
package dataverse
