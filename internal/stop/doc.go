// Package stop owns the table stop: which flows and connections are not to be used now,
// because a person holds them or because their system answers nobody.
//
// App makes one Stops a process. Connectors tell it of rests and hear of those of other
// processes; the claim of runs asks it before a start; people hold and resume through it.
// It may import store, flow, fault and pgx.
//
// Invariants: what the process itself was told holds at once, what others were told
// within half a second. A rest that is over lets one start through at a time, in all
// processes together, until somebody was answered. Nothing here waits for the database
// but Hold, Resume, List and the one start that tries.
package stop
