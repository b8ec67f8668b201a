// Package portable owns the arithmetic of internal/risk: exponential, logarithm, normal
// distribution and random numbers whose bits are the same on every machine.
//
// The packages below internal/risk call it; it imports the standard library's math for
// square roots and bit patterns only. math.Exp and math.Log are assembly on some
// processors, and a Go compiler may fuse a product and a sum into one rounding: both change
// the last bit.
//
// Invariants: each product that is added to something is rounded by an explicit
// conversion first, which the language definition says no compiler may fuse. A random
// number depends on its seed and its index alone, never on what was drawn before it.
// Errors against exact values are stated at each function and held by a test.
package portable
