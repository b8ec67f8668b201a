// Package smtp sends mail: each row of its one table, message, is one mail to one
// recipient.
//
// App builds it through the registry; flows see it as a connector.Upserter with the
// key id, and a Prober. It imports connector, fault and go-mail, which writes the
// MIME form and speaks the protocol's lines. docs/mail.md says how a connection is
// written.
//
// Invariants: SMTP has no key, no version and nothing to read back, so it is neither
// Conditional nor a KeyReader, and every row says exactly one of three things: the
// server took the mail; it is certain that the server did not (whatever failed
// before the final dot, and every refusal in words); or InDoubt, when the session
// ended between the final dot and its answer (RFC 1047; promise 2). One transaction
// has one recipient. The Message-ID follows from the row's id, so that a repetition
// shows as one. No value of a row can add a header or a recipient (R01, R02), and
// none is in a fault (promise 5).
package smtp
