package connector

import "context"

type (
	// Predictor asks a model once; it does not try again. An answer is outside data:
	// nothing is known of it but that it came whole and within the limits.
	Predictor interface {
		Predict(ctx context.Context, p Prediction) (Predicted, error)
	}

	// Prediction is one question, in no system's words. Who reads text gets Instructions
	// and Schema; who computes gets Inputs.
	Prediction struct {
		Model, Version string // Version empty: what is served
		ID             string // of the question, for the system's own records; up to 64 letters and digits
		Instructions   string
		Inputs         []Feature
		Schema         []byte // JSON Schema of the answer
	}

	// Feature is one input by name. Type is one of int, decimal, bool, string, json; the
	// Value is a json.Number, bool, string, the text of the JSON as []byte, or nil.
	Feature struct {
		Name  string
		Type  string
		Value any
	}

	// Predicted is an answer. Model and Version are as the system reports them, empty
	// where it does not; Answer is what should be one JSON object.
	Predicted struct {
		Model, Version string
		Answer         []byte
	}
)
