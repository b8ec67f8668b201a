// Package workflows tells each pattern on one screen: what happens, in which
// order, and what is done when it goes wrong. Everything that touches the world
// is an activity of package contract.
//
// Package workers registers what stands here; the replay tests run every
// recorded history through it. It may import contract, flow and fault and the
// SDK's workflow and temporal packages; nothing that does I/O, directly or below.
//
// Invariants: a workflow reads recorded data only (promise 7); it sees batch
// IDs, sizes, digests and counts, never items (promise 8); its type and its
// activities carry versioned names that a rename in Go does not touch.
package workflows
