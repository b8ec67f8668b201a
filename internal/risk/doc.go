// Package risk owns what a loan costs a bank in losses and capital: loss given default, the
// capital requirement of Basel's internal ratings, expected loss and the price that covers
// all of it. Its scores are in scorecard, the household under stress in stress.
//
// The risk activities call it; it may import portable, figures and fault, and is pure.
// docs/risk.md has the formulas and their sources.
//
// Invariants: results are functions of the input alone, with the same bits on every
// machine. Probabilities, rates and parts are decimals (0.01 is one per cent), amounts are of
// one currency. A figure that is wrong is a named error (package figures), never a result.
package risk
