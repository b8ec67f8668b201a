// Package run owns the tables plan, flow_current, connection, work, batch and dead: what a
// flow is at the moment (Plans), and the one way in, a row per run that is committed
// before Temporal hears of it (Book).
//
// The API and the starters accept, read and cancel runs; the relay claims those that
// wait, in batches, and hands these to Temporal; activities take the items of a batch,
// answer, end and put them back. What many want at a time is committed together. One
// transaction holds the row, its effects and its reason, so run may import ledger and
// journal, besides store, flow, fault and pgx; never the SDK.
//
// Invariants: an Accept that returned without error is durable (promise 1). A row
// that is final never changes again but for its certificate, until a redrive accepts
// it again; one that failed for good is a dead letter until then. Every change after Take,
// which takes a new fence, is a compare-and-set on (run_id, batch_id, fence): a
// zombie's outcome finds no row (promise 2). A row closes with its one final reason in
// the same transaction (promise 4), and a follower in that of its leader. A seal and an
// attempt hold the same row, so no effect begins after a cancel (promise 3).
package run
