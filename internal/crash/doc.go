// Package crash tests what people keep when processes die: it ends patchbay's
// processes, and the servers below them, at chosen points and at random ones, while
// clients press, cancel and signal, and judges afterwards.
//
// It holds tests only. The witnesses that judge are no part of patchbay: the sandbox
// with the record that its own database keeps of rows and calls, an ERP that counts how
// often its rows are written, and the log that the clients keep of what they were
// answered. Patchbay's tables are asked for one thing: that nothing is left lying there
// once it is quiet.
//
// TestNoPointOfACrash… walk the failpoints of package failpoint, in a program built
// for that: one those that a press or an event passes, the other those of
// consolidations. TestRandomKills… follows a schedule that its seed decides; `make crash
// KILLS=n SEED=s` runs it at length. TestEachCertificate… presses and cancels at random
// moments. Results of long runs stand in docs/crash.md.
package crash
