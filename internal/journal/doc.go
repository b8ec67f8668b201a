// Package journal owns the table journal: what happened to what, by business
// key, and why. It answers `patchbay explain`.
//
// Whoever changes a run, a window or a slot writes its entries in the same
// transaction (Write takes one), so that an entry and what it tells of exist
// together or not at all. The vocabulary of reasons is here and nowhere else.
//
// Invariants: entries are only ever added; a run has exactly one final reason
// (promise 4) each time it is accepted, which a unique index keeps. A second one is a bug that rolls its
// transaction back, not an event to tolerate: closing is a compare-and-set on the
// run row, so only code that skipped it can get here. Keys and details are safe
// to show to whoever may see the run; restricted fields never come here (promise 5).
//
// It may import store, flow, fault and pgx.
package journal
