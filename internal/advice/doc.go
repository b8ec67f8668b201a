// Package advice makes an action plan for one customer from the rows that belong
// to it: it asks a model, proves the answer against those rows, and lets rules
// decide where the model fails. What a model says is outside data.
//
// An activity compiles the section advise of a plan (New), and calls Ask for each
// customer with its rows and something that predicts. A plan that a person has to
// see goes to package review; any other is written as Row says.
//
// Invariants: an accepted answer names a declared action whose condition holds,
// evidence that the model was shown, and no number, address or markup that is not in
// the rows it cites or in a fact computed here; a column of a stale source is neither
// shown nor written, and what depends on one is withheld and says so; the same rows
// give the same question, digest and fallback; no error holds a value of a row or a
// word of an answer. Pure but for the waits of Ask. It may import flow, fault, expr,
// strictjson and jsonschema.
package advice
