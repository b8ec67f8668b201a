// Package hook is what the receivers of deliveries share: the proof of who sent
// one, the limits of a batch, and how a JSON body is read and picked apart.
//
// A connector that implements connector.Receiver makes a Guard from the hook of
// its connection and asks it first, before a byte of the body is read as
// anything. Schemes: "standard" (Standard Webhooks, v1), "hmac" (HMAC-SHA256 of
// the body in a header), "key" (?code=), "header" and "query" (a secret as it
// is), "client-state" (one in the body, which the connector finds), "none".
//
// Invariants: secrets are resolved per use and never kept (promise 9); every
// comparison takes the same time whatever differs, over all secrets; signatures
// are of the raw bytes; the codes of the faults are stable (hook.unsigned,
// hook.signature, hook.too_old, hook.too_new, hook.timestamp, hook.id,
// hook.secret_retired, hook.media, hook.body, hook.batch_too_large).
//
// It imports connector and fault.
package hook
