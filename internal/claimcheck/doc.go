// Package claimcheck owns the tables content, content_part and claim: the bytes of
// documents, once each by their SHA-256, and which runs and events still need them.
//
// Whoever reads a document hands its bytes to Checks and has a flow.Claim in their place;
// whoever delivers it opens them again, from any offset. Neither holds more than a part
// of it. run and topic hold claims in their own transactions (Hold).
//
// Invariants: content that a claim points to is never removed, by a foreign key that no
// clean-up gets past. A claim is made before, or in the transaction in which, the need for
// it begins, and removed only after it has ended. Content without a checksum is still being
// read and nobody's; what a killed reader left goes after a while.
//
// It may import store, flow, fault and pgx.
package claimcheck
