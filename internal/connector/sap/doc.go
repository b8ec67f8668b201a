// Package sap reads and writes SAP S/4HANA, and what SAP makes else that speaks
// OData, over OData V2 and V4: pages, sheets, rows by key, upserts, $metadata.
//
// App builds it through the registry. It imports connector with its batch and sheet,
// and fault. Which OData a service speaks stands in its $metadata, which is read once.
// Decimals are numbers with the digits SAP gave, dates 2006-01-02, times in RFC 3339
// and UTC, times of day 15:04:05, whichever way they came.
//
// Invariants: pages follow the entity's key, so that a set that changes while it is
// read loses no row; a page without a next link that is shorter than asked for is
// the last, and nothing else is; a next link decides the query and never the host;
// every write carries a CSRF token with its cookies and the version it is meant for.
//
// Options: client and language (sap-client, sap-language), root (/sap/opu/odata/sap/),
// page (rows, 1000), paging (key; skip for services that cannot compare keys), create
// (tables whose keys the writer gives), reference (TABLE.COLUMN by which a document is
// looked up before it is created), bulk (rows of one $batch, 50; 1 is row by row).
package sap
