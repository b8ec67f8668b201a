// Package durable is how Patchbay speaks to Temporal: the client, what a worker
// is tuned and intercepted with, the converters, the build ID and the few
// administrative calls (search attributes, current version, action counter).
//
// App dials the client and hands it to starters and workers; workers take their
// options from WorkerOptions. The package may import contract, fault, zap and
// the SDK.
//
// Invariants: no payload above MaxPayload leaves the process (promise 8); a
// failure that reaches a history holds a fault's code and text or Temporal's own
// words, never a stack trace or the message of another error (promises 5 and 9);
// an activity that a stopping worker interrupts is tried again, never taken for
// cancelled; a number in a payload is never rounded on the way.
package durable
