// Package alert owns the tables alert, notice and alerting: what is wrong, one row a
// cause while it lasts, and the messages by which people are told.
//
// app looks at the parts of a Patchbay and says what it found of each kind; the console
// reads what is open; a Sender beside the relay puts messages on their way by the
// channels that app gives it. It may import store, flow, fault and pgx; a channel may
// be anything that sends.
//
// Invariants: a cause has one open alert (a unique index). A message is decided on and
// written in one transaction, so that of several processes one makes it; sending takes
// it by a lease, never holds a lock while it waits for somebody else's system, and is
// tried again until it is sent. Its ID is the same each time: a mail has it as
// Message-ID and a webhook as webhook-id, so that whoever gets it twice can tell.
// Texts and samples are safe to show.
package alert
