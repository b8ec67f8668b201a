// Package capsule owns the record of a decision that can be defended years later: what was
// known, from where and as of when, what was computed by which version from which seed, what was
// decided and why, signed.
//
// app seals capsules, cli verifies them and runs them again; it may import calculator, fault
// and strictjson, and is pure.
//
// Invariants: a capsule is one JSON text in canonical form, and no other text opens: each byte
// of the file is either signed or fixed. Nothing is read that does not verify against a key the
// reader trusts; a key inside the file would prove nothing.
package capsule
