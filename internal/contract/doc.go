// Package contract is the wire between everything that talks through Temporal:
// names, typed stubs, inputs and results, IDs, timeout profiles, search
// attributes and the form a fault has in a history.
//
// Workflows run activities through the stubs, workers register implementations
// through the same stubs, starters start workflows through them: the compiler
// checks both ends, and a rename in Go never renames history. A name, once
// released, keeps its meaning; a changed one gets a new version suffix.
//
// It may import flow, fault and the Temporal SDK. Nothing here does I/O, except
// that starting and registering pass through to the SDK.
//
// Invariants: inputs and results carry references and counts, never rows
// (promise 8); IDs hold no client key and no personal data (promise 5).
package contract
