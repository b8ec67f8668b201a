// Package run owns the tables plan, flow_current, connection and work: what a
// flow is at the moment (Plans), and the one way in, a row per run that is
// committed before Temporal hears of it (Book).
//
// The API and the starters accept, read and cancel runs; the relay hands due rows
// to Temporal; activities begin, answer and close the items of a batch. One
// transaction holds the row, its effects and its reason, so run may import ledger
// and journal, besides store, flow, fault and pgx; never the SDK.
//
// Invariants: an Accept that returned without error is durable (promise 1). A row
// that is final never changes again but for its certificate. Every change after
// Begin is a compare-and-set on (run_id, batch_id, fence), and Begin takes a new
// fence, so a zombie's outcome finds no row. A row closes with its one final
// reason in the same transaction (promise 4), and whatever closes it other than by
// completing it seals its effects first (promise 3).
package run
