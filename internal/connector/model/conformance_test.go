package model_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"patchbay/internal/connector"
	"patchbay/internal/connector/conformance"
	"patchbay/internal/connector/model"
)

// asked gives a question the form of a read: its condition is an input, and the answer
// is the one row.
type asked struct{ connector.Predictor }

func (a asked) ReadPage(ctx context.Context, q connector.Query, _ string) (connector.Page, error) {
	p := connector.Prediction{Model: "m", ID: "1", Instructions: "canary", Schema: []byte(`{"type":"object"}`),
		Inputs: []connector.Feature{{Name: "note", Type: "string", Value: "canary"}, {Name: "rows", Type: "json", Value: []byte(`["canary"]`)}}}
	for _, m := range q.Where {
		p.Inputs = append(p.Inputs, connector.Feature{Name: m.Column, Type: "string", Value: m.Value})
	}
	got, err := a.Predict(ctx, p)
	if err != nil {
		return connector.Page{}, err
	}
	return connector.Page{Rows: []connector.Row{{"answer": string(got.Answer)}}}, nil
}

func TestEveryProtocolKeepsTheContract(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		model.OpenInference: `{"model_name":"m","model_version":"1","outputs":[{"name":"answer","shape":[1],"datatype":"BYTES","data":["{}"]}]}`,
		model.MLflow:        `{"predictions":[{}]}`,
		model.AzureML:       `[{}]`,
		model.OpenAIChat:    `{"model":"m","choices":[{"message":{"role":"assistant","content":"{}"},"finish_reason":"stop"}]}`,
	}
	failures := map[string]string{
		model.OpenInference: `{"error":"canary"}`,
		model.MLflow:        `{"error_code":"INTERNAL_ERROR","message":"canary","stack_trace":"canary"}`,
		model.AzureML:       `{"message":"canary"}`,
		model.OpenAIChat:    `{"error":{"message":"canary","type":"server_error","param":null,"code":null}}`,
	}
	for protocol, answer := range answers {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			conformance.Wire(t, conformance.Harness{
				Build: func(c connector.Config, d connector.Deps) (any, error) {
					m, err := model.New(c, d)
					return asked{m}, err
				},
				Config: connector.Config{System: model.System, Options: map[string]string{"protocol": protocol}},
				Query:  connector.Query{Table: "m", Select: []string{"answer"}, Limit: 1},
				Page:   func(*http.Request, string, []connector.Row) []byte { return []byte(answer) },
				Accepted: func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					fmt.Fprint(w, answer)
				},
				Failure: func(int) []byte { return json.RawMessage(failures[protocol]) },
			})
		})
	}
}
