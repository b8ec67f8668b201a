// Package mirror carries the changes of one region's own system to the border, and what
// other regions have for it from their borders to the system. It is the work inside the
// standing activities of a synchronization, which call it; package app gives it what it
// works on.
//
// It owns no tables and remembers nothing: what is known of records is package
// replica's, what crosses is package egress's, and the systems are connectors. Each table
// goes on by itself: what fails is named, tried again later, and stops no other.
//
// Invariants: a source is asked for allowed columns, the key and the system's own ID, and
// for nothing else (promise 5); it is told what we do not need any more only after our own
// commit (promise 4); the target is written to only while it holds what we believe it
// holds, so that an edit that nobody observed yet is never lost (promise 2). Errors,
// counts and logs name tables, columns and codes, never values.
package mirror
