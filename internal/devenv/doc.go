// Package devenv runs everything around Patchbay on one machine: PostgreSQL,
// the Temporal development server and the sandbox, as child processes.
//
// `patchbay dev` (package app) is the one caller in the product; testenv builds
// the environment of the tests from the same parts. The package may import
// fault, pgx and the Temporal SDK, which it needs to tell when a child is ready.
//
// Children live in sessions of their own and survive the process that started
// them. DIR/dev.json names each by pid and start time, written before the child
// runs its first instruction: the next start adopts a child that is healthy and
// was started with the same parameters, and ends every other. A lock on DIR
// keeps a second Patchbay out; the kernel drops it with the process.
//
// Invariants: a signal goes only to a process whose pid and start time are those
// recorded; everything listens on loopback; passwords are generated, stand in
// files of mode 0600 and never in an argument list or a log (promise 9).
//
// The package uses sessions, credentials and file locks of Unix.
package devenv
