// Package join makes target rows of the rows of several sources: it packs and checks
// what was read, merges sorted streams of it by key, maps each key and tells which
// target rows differ from what the target holds.
//
// Package stage keeps what it packs and gives it back sorted; app builds a Plan of each
// plan. It imports flow, fault and expr, and does no I/O but by the streams it is given.
//
// Invariants: every row that is read is staged or rejected by name, every staged row
// is used, unmatched or a duplicate, every key is changed, unchanged or rejected
// (promise 4); no number passes through a float64; memory does not grow with the rows
// of a source, but with those of one key; the same input gives the same output to the
// byte. Values never reach an error.
package join
