// Package model is the stand-in for a model server. It computes: what it answers is
// what the model of package learned says of the numbers it is sent, with a reason in
// words and the rows it rests on.
//
// The exchange calls it. It speaks four wires about one model, next-best-action: the
// Open Inference Protocol v2, the scoring server of MLflow, an online endpoint of
// Azure ML, and the chat completions of OpenAI, each as strict as the real one. Faults
// of the kind "model" make it a bad one: hostile, chatty or torn.
//
// Invariants: the same question has the same answer on each wire, to the last digit; a
// number in a reason is one that was sent, in the very digits; it keeps nothing.
//
// It imports learned, exchange, faults, login, ordered and storage.
package model
