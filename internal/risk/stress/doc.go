// Package stress owns the affordability of a loan under stress: a Monte Carlo simulation of
// a household over income, interest rates and unemployment, in quarters.
//
// The risk activities call it; it may import portable, figures and fault, and is pure.
// docs/risk.md has the model, its closed forms and what the variance reduction is worth.
//
// Invariants: the result is a function of the question, the number of paths and the seed:
// the same bits on every machine and for any number of workers, since each pair of paths draws by
// its own index and sums are added in the order of blocks of a fixed size. No path allocates.
// A cancel is heard after each block, about a millisecond. A figure that is wrong is a named
// error (package figures), never a result.
package stress
