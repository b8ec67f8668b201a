// Package expr is the expression language of flow files: CEL with exact numbers,
// typed rows and a bound on its cost.
//
// An Env declares variables and compiles expressions against them (flowfile does,
// to find every mistake before a flow runs); a Program evaluates one expression;
// a Mapper applies the expressions of a plan to rows (activities and flow tests
// do); a Matcher applies the triggers of an event flow to events (who accepts them
// and flow tests do). Values in and out are plain JSON values: nil, bool, string, json.Number,
// []any and map[string]any.
//
// The package is pure: no clock, no I/O. It imports flow, fault, cel-go and apd.
// CEL walks maps in random order, so no workflow may use it (promise 7).
//
// Invariants: no number ever passes through a float64; a bare selection such as
// row.ItemNumber hands its value on unchanged; a column that is absent is an
// error and never null; one evaluation costs at most Budget; errors name columns
// and never hold values. Programs, Mappers and Matchers are safe for concurrent use.
package expr
