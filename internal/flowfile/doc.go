// Package flowfile reads what integration engineers write: flow files, their
// tests and connections.yaml. It turns YAML into flow.Plan and flow.Connection,
// and everything that is wrong into Diagnostics with file, line, column, code and
// fix, all in one pass.
//
// Callers are check, app (to apply flows) and the CLI. It is the only package
// that imports the YAML library; else flow, fault and expr. It does no I/O:
// files come in as bytes.
//
// Each kind of file is declared once, as Go values (flowDoc, connectionsDoc,
// testsDoc): the declaration drives decoding, required and unknown keys, and the
// JSON Schema, so that these cannot drift apart.
//
// Invariants: a Plan is returned only without errors; it holds references, never
// secrets, and no diagnostic shows the value of one (promise 9); durations are
// divided by the speed here and nowhere else.
package flowfile
