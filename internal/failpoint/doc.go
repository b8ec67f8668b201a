// Package failpoint lets a test end, freeze or deceive a process at a durable
// action: before it, inside it ("applied, answer lost") and after it.
//
// Every durable action of Patchbay passes one of three places, and these alone call
// this package: a transaction of package store, a call of Temporal by the client of
// package durable, a write of a connector's transport or gate. So no action can be forgotten,
// and none has to name itself: a transaction is known by the function that executes
// it ("run.insert"), a call by its method ("temporal.StartWorkflowExecution"), a write
// by its system ("dataverse.write").
//
// Without the build tag failpoints everything here is empty and compiled away; a test
// looks into the built program. With it, PATCHBAY_FAILPOINTS names the loopback
// address at which a process is told what to do: PUT / arms one action (an Order in
// JSON), GET / tells which actions the process has carried out. An Order in
// PATCHBAY_FAILPOINT is armed from the beginning. It imports the standard library only.
package failpoint
