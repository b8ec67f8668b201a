// Package e2e tests the binary as its users meet it: `patchbay dev` as a
// process, its children, its API over HTTP, its console in Chromium, and kill -9.
//
// It holds tests only. What is right is decided from outside: by the answers on
// the wire, by the sandbox's own record of calls and by what its Dataverse
// holds, never by Patchbay's tables.
//
// Every test has a data directory, ports and child processes of its own, and
// leaves none behind.
package e2e
