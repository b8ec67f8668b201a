package model

import (
	"net/http"
	"slices"

	"patchbay/internal/connector"
)

// azureML is an online endpoint of Azure Machine Learning. Its bodies are what the
// scoring script of the model makes of them; option request chooses the usual ones.
type azureML struct{}

// deployment is the header by which a deployment is chosen, and named in the answer.
const deployment = "Azureml-Model-Deployment"

func (azureML) ask(m *Model, p connector.Prediction, inputs []connector.Feature) (string, any, http.Header) {
	names, row := columns(inputs)
	var body any
	switch m.option("request", "input_data") {
	case "data":
		body = map[string]any{"data": [][]any{row}}
	case "records":
		record := make(map[string]any, len(inputs))
		for _, f := range inputs {
			record[f.Name] = value(f)
		}
		body = map[string]any{"data": []any{record}}
	default:
		body = map[string]any{"input_data": map[string]any{"columns": names, "index": []int{0}, "data": [][]any{row}}}
	}
	header := http.Header{}
	if name := m.option("deployment", p.Version); name != "" {
		header.Set(deployment, name)
	}
	return rooted(m.option("path", "/score")), body, header
}

// read takes a bare list, as models of MLflow answer, or one below a usual name.
func (azureML) read(m *Model, _ connector.Prediction, answer any, h http.Header) (connector.Predicted, error) {
	version := h.Get(deployment)
	for _, name := range []string{"predictions", "result", "outputs", "output"} {
		if rows, ok := object(answer)[name].([]any); ok {
			answer = rows
		}
	}
	p, err := one(m, answer)
	p.Version = version
	return p, err
}

func (azureML) probe() string { return "/" }

// verdict looks through a container that answered badly at what it said.
func (azureML) verdict(status int, h http.Header, _ []byte) connector.Verdict {
	if inner := number(h, "ms-azureml-model-error-statuscode"); status == http.StatusFailedDependency && slices.Contains([]int{400, 413, 415, 422}, inner) {
		return byStatus(inner)
	}
	return byStatus(status)
}
