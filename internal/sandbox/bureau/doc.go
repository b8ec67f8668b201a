// Package bureau is the stand-in for a credit bureau: POST /v1/inquiries asks for the report of one
// person, takes its time and costs 2.50 EUR; GET /v1/health is free.
//
// The sandbox mounts it. An inquiry carries a reference of the caller's own in the header
// Inquiry-Reference: a repeated one is answered again and not charged. The contract allows 500.00
// EUR a day (UTC; --speed N: a day has N of them); beyond it is 429 until the next. Whom nobody
// knows is 404, for nothing. Rules, which controls set, make it answer wrongly.
//
// Invariants: an inquiry is charged with its record, in the transaction that answers; no day is
// charged more than it has. It imports exchange, login, ordered and storage.
package bureau
