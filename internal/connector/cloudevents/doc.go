// Package cloudevents receives CloudEvents 1.0 over HTTP in each of their modes:
// binary, structured and batch. It reads and writes nothing.
//
// App builds it through the registry; the inbox sees it as a connector.Receiver.
// It imports connector, connector/hook, fault and strictjson.
//
// An event's ID is its source and id, a table of the connection is known by the
// CloudEvents type as its path (a path that ends in * takes every type that
// begins so), Record is the subject, data is the record. The extensions read are
// change, sequence (the version) and patchbayorigin; others, dataschema and
// partitionkey among them, are checked in form and left alone.
//
// Options: change and change.TABLE (what happens where no event says it, default
// the last word of the type, else update), whole ("true": data is the whole record),
// after, before and record (JSON pointers into data). A batch has one unreadable
// event or none: it is refused whole, so that the sender and we agree on what came.
package cloudevents
