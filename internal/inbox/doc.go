// Package inbox owns the tables event, record, change_window, funnel, cursor, throttle
// and spike: what sources told, what is known of their records, and the windows in
// which the changes of one business key become one run.
//
// The API hands it deliveries, sweepers what change tracking found; starters ask it
// which windows are due and make runs of them. It decides by the triggers of the plan,
// which it knows as a Judge, and may import store, group, journal, flow, fault and pgx.
//
// Invariants: what Accept returned without error is committed (promise 1): the event,
// its place in a window and what is known of its record, in one transaction. An ID is
// taken once in 30 days. Every event has exactly one final reason (promise 4), in the
// view event_fate, or, where the flow only counts, a place in a counter. What is known
// of a record moves only forward. Columns that the plan has no use for are not kept
// (promise 5). Transactions of one flow are one after the other, by its lock.
package inbox
