// Package replica is what one region knows of the records that it shares: the writings
// of each value, what of them its own system holds, and what is still to be written
// there. It owns the tables replica_*; export, import and reconciliation call it.
//
// Its heart does no I/O: an Algebra of registers. A value is a register of writings, each
// with a flow.Version; a deletion and a change of the key are registers of the record. Regions
// that know the same writings hold the same values, in whatever order they heard of
// them and however often. What the own system holds (the base) is kept beside it: an edit
// replaces what its author saw, not what we had heard of meanwhile.
//
// Invariants: state, cursor and egress batch commit together, and so do a received batch
// and how far we received (promise 4); what is equal to the base or to what was to be
// written is never exported (echo); a late call of an attempt that was taken over changes
// nothing (fences); only columns of the plan are kept (promise 5). Errors hold no values.
// It imports store, flow, fault and pgx.
package replica
