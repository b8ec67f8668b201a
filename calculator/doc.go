// Package calculator is how a computation of one's own gets into Patchbay: a function with a
// name and a version, whose input and output are Go structs.
//
// Programs that host calculators import it, and packages that hold them; docs/risk.md shows
// how, examples/calculator is one that builds. It may import fault and strictjson.
//
// Invariants: a calculator computes from its input and its seed alone, so that it can be run
// again years later. What it is given is complete (each field that is neither a pointer nor
// omitempty is there) and strict JSON; what it gives is canonical JSON without NaN. A
// calculator that panics, fails, exceeds its time or gives no number is a fault with a name,
// never an output.
package calculator
