// Package maersk is the stand-in for Maersk's APIs: bookings (DCSA BKG 2.0), Track &
// Trace events (DCSA TNT 2.2, bare and in Maersk's envelope), event subscriptions with
// signed callbacks, booking notifications as CloudEvents, and both token endpoints.
//
// A booking moves by timers: received, confirmed or refused, and then a step of its
// shipment after the other, each telling its events. Everything is rows, so that a
// restart goes on where it stopped; speed shortens the timers. Decisions, which tests
// and demos set, say what is to happen to a booking by its shipper's reference.
//
// A caller sees what is its own client's; everything else is nobody's to it (404).
// It imports exchange, faults, login, ordered, record and storage.
package maersk
