// Package topic owns the tables topic_event, topic_wait and topic_run: business events,
// which tasks of runs await one, and which runs one started.
//
// Whoever posts an event hands it to Topics; run puts and takes events for a task in the
// transaction in which it keeps that task (Put, Take). A starter wakes those whose event came.
//
// Invariants: what Post returned without error is committed (promise 1). An ID of a topic
// is one event, however often it is sent. An event is taken by one task at most, and a
// task takes one at most, whoever dies when; both hold the lock of the topic and the
// key, so that none is overlooked. Every event is kept until it has one final reason:
// taken, delivered, dead or expired (promise 4). Only fields that a contract names are kept (promise 5), and the documents that they tell of
// as long as the event is, or can be offered again.
//
// It may import store, claimcheck, flow, fault and pgx.
package topic
