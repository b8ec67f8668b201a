// Package imap reads incoming mail: a mailbox is a table, a message a row, an attachment
// a document. New messages are told as they come (IDLE), by a cursor of UIDs.
//
// App builds it through the registry. It imports connector and fault, and alone go-imap,
// which speaks the protocol, and x/text, which knows the charsets of mail.
//
// Invariants: nothing is changed at the server, not even what was seen; nothing but
// TLS is spoken unless the connection says so of this machine; no message is held
// whole: of a row the structure and the beginning of its text are read, an attachment
// comes in parts; names that others gave are made safe before anybody sees them.
//
// A message is known by its Message-ID, the time of its arrival and its size, so that it
// stays the same when the server numbers its UIDs anew (UIDVALIDITY).
package imap
