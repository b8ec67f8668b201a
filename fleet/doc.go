// Package fleet hosts calculators: it takes computations from task queues of Temporal and
// gives what they compute back. It is all that a compute worker is.
//
// Patchbay's own processes run a Host of it, and so do programs with calculators of their
// own, by Main; docs/fleet.md shows how. It may import calculator, contract, fault, durable,
// telemetry and the probes of httpapi, and never what reads a database, a connection or a
// secret: a worker of the fleet holds Temporal's address and nothing else.
//
// Invariants: a computation is given back by its result, by a fault with a name that is not
// tried again, or to be begun elsewhere; one that three workers died of is not begun again
// (compute.poison). What nobody waits for has slots of its own. A process in which more
// functions run on than it can bear ends itself, after what else it computes.
package fleet
