package model

import (
	"encoding/json"
	"net/http"

	"patchbay/internal/connector"
)

// mlflow is the scoring server of MLflow, and Databricks Model Serving. It does not say
// which model it is.
type mlflow struct{}

func (mlflow) ask(m *Model, _ connector.Prediction, inputs []connector.Feature) (string, any, http.Header) {
	names, row := columns(inputs)
	return rooted(m.option("path", "/invocations")), map[string]any{"dataframe_split": map[string]any{"columns": names, "data": [][]any{row}}}, nil
}

func (mlflow) read(m *Model, _ connector.Prediction, answer any, _ http.Header) (connector.Predicted, error) {
	predictions, ok := object(answer)["predictions"]
	if !ok {
		return connector.Predicted{}, malformed(m, "it has no predictions")
	}
	return one(m, predictions)
}

// one is the answer for the one row that was asked for.
func one(m *Model, predictions any) (connector.Predicted, error) {
	rows, ok := predictions.([]any)
	if !ok || len(rows) != 1 {
		return connector.Predicted{}, malformed(m, "it has not one prediction for the one row")
	}
	return connector.Predicted{Answer: text(rows[0])}, nil
}

func (mlflow) probe() string { return "/ping" }

// verdict shows the code of an error, never its message or stack_trace.
func (mlflow) verdict(status int, _ http.Header, body []byte) connector.Verdict {
	v := byStatus(status)
	var said struct {
		Code any `json:"error_code"`
	}
	if json.Unmarshal(body, &said) == nil {
		v.Detail = vendorCode(said.Code)
	}
	return v
}
