// Package slot owns the tables schedule, schedule_pause, slot and slot_run: which
// schedules are in force, what became of each of their times, and the open run of each
// consolidation.
//
// apply says which schedules are in force; starters fills the ledger ahead, makes
// Temporal's schedules equal to it and asks Temporal about what it cannot know; the
// first and the last activity of a consolidation open and close a run. It may import
// calendar, store, flow, fault and pgx, and knows nothing of Temporal.
//
// Invariants: a slot is one row, made before its time or by the run that it started,
// and has one outcome (promise 4); what is final changes only by a run. A flow has one
// open run unless it lets them overlap: a partial unique index decides, not a look
// before. Opening and closing are idempotent by run_id. The clock is the database's.
package slot
