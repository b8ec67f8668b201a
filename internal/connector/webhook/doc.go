// Package webhook receives JSON webhooks of any sender: where an event has its id,
// its record and the rest is said by JSON pointers. It reads and writes nothing.
//
// App builds it through the registry; the inbox sees it as a connector.Receiver.
// It imports connector, connector/hook and fault.
//
// Options are pointers into the event: id, table, record, change, time, version,
// origin, after, before; rows points into the body at the list of events. Without
// rows the body is one event, or a list of them. Without after the event itself is
// the record; whole ("true") says that it is all of it. What a sender writes under
// change is create, update or delete, a usual synonym, or listed in the option
// changes ("opened=create, closed=update"); without a pointer it is the option
// change.default, else update. A table is known by its path; where the connection
// has one table only, all events are of it.
//
// An event without an id of its own has that of a signed delivery (webhook-id),
// else the SHA-256 of what it says: a sender that says the same twice means it once.
package webhook
