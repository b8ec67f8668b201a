// Package activities does what workflows decide: one small struct a capability,
// each with the few things it needs as interfaces of its own, filled by app.
//
// Package workers registers them under the names of package contract. It may
// import contract, flow, fault and strictjson, the SDK's activity, temporal and
// worker packages, and the record packages run, ledger, stage, slot and review for their types; it knows
// no connector, no store and no sandbox.
//
// Invariants: an activity may run twice, at once or long after its successor
// (promise 2): it asks the run row and the ledger first and reports through a
// fence; it stops itself at 80 % of its timeout; what it returns is a count
// (promise 8); what fails is a fault.
package activities
