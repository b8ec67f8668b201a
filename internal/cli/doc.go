// Package cli is the patchbay command: it parses arguments, calls app, check and
// flowfile, or speaks to a running Patchbay over its API, and prints.
//
// Main is called by package main only. Machine output (--json) goes to standard
// output and is an interface; everything meant for a person that is not the
// answer goes to standard error.
//
// Invariants: a user's mistake is one clear line and exit status 2, never a
// stack; exit status 1 means that what was asked did not succeed.
package cli
