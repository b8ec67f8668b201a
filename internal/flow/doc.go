// Package flow is the pure model everything else speaks: the compiled plan of a
// flow, the connections it is bound to, and the outside view of a run.
//
// A Plan is what flowfile compiles from YAML and what activities load by
// digest; a Skeleton is the part of it a workflow may branch on; a Run is what
// the API, the CLI and the console show. The package does no I/O and reads no
// clock, so that workflows, activities and the API may all import it.
//
// Invariants: a Plan never holds a secret, only references (promise 9); its
// Digest covers every field, so two equal digests run equally (promise 6);
// Compile-time durations are already divided by the speed of the environment.
package flow
