// Package egress is the border of a region: what the other regions may fetch of it, and
// how they fetch it. It owns the schema egress of the region's own database.
//
// Each table of a synchronization has a table there with exactly its key, the columns
// that may cross, and the versions of their values; a role for each other region may
// select these columns and acknowledge, and nothing else. Prepare makes all of it, as
// the owner, when a plan is applied. Egress puts batches there, inside the transaction
// that observed them, and removes what every region has acknowledged; replica calls it.
// Peer is the other side: the importer's view of another region's database.
//
// Invariants: a column that may not cross has no place here (promise 5); batches of a
// table become visible in the order of their IDs, so that a reader who goes on after an
// ID misses none; an acknowledgement never goes back, and is of the session's own role.
// No error holds a row or a URL. It imports store, flow, fault and pgx.
package egress
