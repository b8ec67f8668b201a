// Package ruling owns what the rules of a hybrid flow say of figures: the requirements, the
// rules in their order, and what a person who reviews is shown.
//
// app asks it while a run decides and when a capsule is run again, flow tests ask it without a
// server; it may import expr, flow and fault, and is pure.
//
// Invariants: the same plan and figures give the same ruling, word for word; what cannot be
// evaluated is never taken for false or true: it refuses; what a substitute stands in is never
// approved of.
package ruling
