// Package model asks models: over the Open Inference Protocol v2, and over three
// other wires that a connection chooses by its option protocol: mlflow,
// azureml-score, openai-chat.
//
// One question (connector.Prediction) goes out in each of them and one answer comes
// back: the text of what should be a JSON object, unread. Tries are the caller's.
// The connection's limits, sign-in and size are the transport's; an answer may have
// 1 MiB unless the connection says otherwise, so an endless one ends there.
//
// Invariants: no error holds a word of a question or of an answer; a fault is
// Rejected only when an answer came that is none, Invalid when the question is what
// the server does not take, NotFound when it does not know the model; only inputs
// that the option inputs names leave, where it names any (promise 5); the name and
// the version are those of the server's own answer.
package model
