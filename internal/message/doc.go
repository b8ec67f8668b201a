// Package message makes the message that a run of an event flow sends: subject,
// HTML and text templates over the net changes of the run, and the address they
// go to.
//
// Flowfile compiles a flow.Send to report every problem before anything runs; app
// compiles the same Send of a plan and renders one row of flow.MessageColumns for
// each run, which a connector (smtp, rest) sends. It imports flow and fault, does
// no I/O and reads no clock.
//
// Invariants: equal data give an equal row with an equal id, so that a repetition
// is known as one; no value can add a header, a recipient or markup (R01, R02,
// R04); a column that is not there fails the message, as Rejected, and is never
// sent as an empty place or "<no value>"; the time and size of a message are
// bounded by what a template may contain; no fault holds a value of a row.
package message
