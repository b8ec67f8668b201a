// Package crash tests what people keep when processes die: it ends patchbay's
// processes, and the servers below them, at chosen points and at random ones, while
// clients press, cancel and signal, and judges afterwards.
//
// It holds tests only. Two witnesses judge, which no test ends: the sandbox with the
// record that its own database keeps of rows and calls, and the log that the clients
// keep of what they were answered. Patchbay's tables are asked for one thing: that
// nothing is left lying there once it is quiet.
//
// TestNoPointOfACrash… walks the failpoints of package failpoint, in a program built
// for that. TestRandomKills… follows a schedule that its seed decides; `make crash
// KILLS=n SEED=s` runs it at length. TestEachCertificate… presses and cancels at
// random moments. Results of long runs stand in docs/crash.md.
package crash
