// Package config reads what a process is told from outside its flows: references
// to secrets and the file of bearer keys.
//
// App and cli call it. It imports flow and fault and the standard library.
//
// Invariants: a secret is resolved at each use and held by nobody (promise 9);
// no error or log line shows a value, only the name of the reference; keys are
// kept as SHA-256 and compared in constant time.
package config
