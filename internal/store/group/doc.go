// Package group commits what many want at a time in common transactions: the price
// of a commit, an fsync, is paid once for all who came meanwhile.
//
// The packages that own tables use it (run, inbox): each says what one transaction
// of several members does, and the group decides who is in it. It knows neither
// PostgreSQL nor what is committed, and may import fault.
//
// Invariants: a member gets its own outcome, and one that fails for its own sake
// takes nobody else along; a caller who left before its turn takes no part; no
// goroutine is left when nobody waits.
package group
