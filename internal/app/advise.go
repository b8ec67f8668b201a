package app

import (
	"context"

	"patchbay/internal/advice"
	"patchbay/internal/connector"
)

// predictor asks for advice what a connection predicts.
type predictor struct{ connector.Predictor }

// Ask implements advice.Model.
func (p predictor) Ask(ctx context.Context, q advice.Question) (advice.Reply, error) {
	inputs := make([]connector.Feature, 0, len(q.Facts)+1)
	for _, f := range q.Facts {
		kind := "string"
		switch f.Type {
		case "int", "decimal", "bool":
			kind = string(f.Type)
		}
		inputs = append(inputs, connector.Feature{Name: f.Name, Type: kind, Value: f.Value})
	}
	inputs = append(inputs, connector.Feature{Name: "evidence", Type: "json", Value: q.Evidence})
	got, err := p.Predict(ctx, connector.Prediction{
		Model: q.Model, Version: q.Version, ID: q.ID, Instructions: q.Instructions, Inputs: inputs, Schema: q.Schema,
	})
	return advice.Reply{Model: got.Model, Version: got.Version, Answer: got.Answer}, err
}
