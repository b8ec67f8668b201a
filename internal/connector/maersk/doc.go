// Package maersk books with Maersk (DCSA BKG 2.0), reads Track & Trace events (DCSA
// TNT 2.2, bare or in Maersk's envelope) and receives event callbacks and booking
// notifications.
//
// App builds it through the registry. It imports connector, hook and fault. The path of
// a table is what it holds: events (one row an event), milestones (one row for what is
// estimated and then happens, where a newer estimate and the fact take the place of the
// older), bookings (one row a booking, by the shipper's own reference).
//
// Invariants: a booking is looked up by our reference before it is made, because the
// API has no idempotency key (promise 2); pages are followed on the connection's own
// host only; code sets are open; faults show codes and property names, never texts of
// the vendor.
//
// What is not confirmed of Maersk's own form of DCSA is an option: see docs/maersk.md.
package maersk
