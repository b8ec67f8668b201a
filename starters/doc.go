// Package starters is the only code that starts, signals and cancels workflows:
// the trigger that takes a press, the relay that hands rows to Temporal and ends
// those whose workflow is gone, the control that cancels, and the canary that
// shows whether all of it works.
//
// The API and the CLI call it through app. It may import contract, flow, fault,
// run, ledger, journal, durable and the SDK's client package.
//
// Invariants: a row is committed before Temporal is asked (promise 1), so a
// start that fails costs time, never a press; a batch is resent unchanged under
// its own workflow ID, so a start that was answered twice is one workflow; no
// start hangs on the life of the request that caused it.
package starters
