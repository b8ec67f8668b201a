// Package forecast says from the history of a flow's runs when one of them will not be
// over before the next slot: robust trends of what runs take, against time and against
// rows, held against the gaps of the schedule.
//
// starters asks it when a run has ended and keeps the answer in the slot ledger, where
// alerts and the console find it. It may import calendar, flow and fault; it is pure.
//
// Invariants: the same history gives the same answer. A trend is a median of slopes
// (Theil–Sen), so that a run which hung, or was quick because a source was empty, does
// not bend it. People are warned only of a trend that chance explains in fewer than one
// of a thousand looks at a flat history, and of a breach no further ahead than twice the span
// that is known.
package forecast
