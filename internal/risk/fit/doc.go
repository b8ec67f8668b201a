// Package fit owns how a scorecard is made and judged: coarse classes with their weight of
// evidence, the logistic model, discrimination and calibration.
//
// The program internal/risk/train calls it, and nobody while a loan is decided; it may
// import portable, figures and fault, and is pure.
//
// Invariants: the same rows in the same order give the same bits on every machine. Classes of a
// figure are intervals whose default rate rises or falls throughout, as its direction says.
package fit
