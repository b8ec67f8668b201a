// Package graph reads, writes and follows the documents of SharePoint and OneDrive
// over Microsoft Graph.
//
// App builds it through the registry. It imports connector, hook and fault. A table is
// a document library (a drive), its rows are the files in it, folders are not rows.
// Table.Path is drives/ID, sites/HOST:/PATH, whose default library is meant, or
// sites/HOST:/PATH:/drives/NAME.
//
// Invariants: reads name their columns; addresses that Graph gives for the bytes of a
// file need no credentials, get none, and are neither kept nor shown (promise 9); of a
// file there is never more than one part in memory; a file that changes while it is
// read is never given as whole; a notification only says that there is something to
// read: what it is, delta tells.
//
// Options: part (bytes of one request of an upload, 3276800), content_hosts (besides
// those of SharePoint, with commas), subscription (how long one lasts, 48h).
package graph
