package model

import (
	"encoding/json"
	"net/http"

	"patchbay/internal/connector"
)

// inference is the Open Inference Protocol v2 over REST: one tensor an input, of one row.
type inference struct{}

type tensor struct {
	Name     string `json:"name"`
	Shape    []int  `json:"shape"`
	Datatype string `json:"datatype"`
	Data     []any  `json:"data"`
}

func (inference) ask(m *Model, p connector.Prediction, inputs []connector.Feature) (string, any, http.Header) {
	tensors := make([]tensor, 0, len(inputs)+2)
	shape := []int{1, 1}
	if m.option("shape", "1,1") == "1" {
		shape = shape[:1]
	}
	add := func(name, datatype string, v any) {
		tensors = append(tensors, tensor{name, shape, datatype, []any{v}})
	}
	for _, f := range inputs {
		if f.Value == nil {
			continue // a tensor has no null: the server says whether it can do without
		}
		add(f.Name, datatypes[f.Type], cell(f))
	}
	if name := m.option("instructions_input", ""); name != "" {
		add(name, "BYTES", p.Instructions)
	}
	if name := m.option("schema_input", ""); name != "" {
		add(name, "BYTES", string(p.Schema))
	}
	body := map[string]any{"inputs": tensors}
	if p.ID != "" {
		body["id"] = p.ID
	}
	return modelPath(p.Model, p.Version) + "/infer", body, nil
}

var (
	datatypes = map[string]string{"int": "INT64", "decimal": "FP64", "bool": "BOOL", "string": "BYTES", "json": "BYTES"}
	ours      = map[string]string{"BOOL": "bool", "BYTES": "string", "FP16": "decimal", "FP32": "decimal", "FP64": "decimal",
		"INT8": "int", "INT16": "int", "INT32": "int", "INT64": "int", "UINT8": "int", "UINT16": "int", "UINT32": "int", "UINT64": "int"}
)

// read takes the output that option answer names, whose text is the answer; a model
// without it answers with all its outputs, by name.
func (inference) read(m *Model, p connector.Prediction, answer any, _ http.Header) (connector.Predicted, error) {
	got := object(answer)
	name, _ := got["model_name"].(string)
	version, _ := got["model_version"].(string)
	if id, ok := got["id"].(string); ok && id != "" && p.ID != "" && id != p.ID {
		return connector.Predicted{}, malformed(m, "it is the answer to another question")
	}
	if p.Version != "" && version != "" && version != p.Version {
		return connector.Predicted{}, m.rejected("other_version", "it is of another version than the one asked for")
	}
	values := map[string]any{}
	for _, o := range list(got["outputs"]) {
		output := object(o)
		key, _ := output["name"].(string)
		data := flat(list(output["data"]), nil)
		if n, ok := elements(list(output["shape"])); key == "" || !ok || n != len(data) || n == 0 {
			return connector.Predicted{}, malformed(m, "an output has no name, or not the data of its shape")
		}
		if _, twice := values[key]; twice {
			return connector.Predicted{}, malformed(m, "an output comes twice")
		}
		if values[key] = any(data); len(data) == 1 {
			values[key] = data[0]
		}
	}
	if len(values) == 0 {
		return connector.Predicted{}, malformed(m, "it has no outputs")
	}
	out := connector.Predicted{Model: name, Version: version}
	if v, ok := values[m.option("answer", "answer")]; ok {
		out.Answer = text(v)
	} else {
		out.Answer = text(values)
	}
	return out, nil
}

// flat makes one row of the elements of a tensor, which may be nested.
func flat(data, into []any) []any {
	for _, v := range data {
		if inner, ok := v.([]any); ok {
			into = flat(inner, into)
			continue
		}
		into = append(into, v)
	}
	return into
}

func elements(shape []any) (int, bool) {
	n := int64(1)
	for _, v := range shape {
		d, _ := v.(json.Number)
		size, err := d.Int64()
		if err != nil || size < 0 || size > 1<<20 || n*size > 1<<20 {
			return 0, false
		}
		n *= size
	}
	return int(n), len(shape) > 0
}

func (inference) probe() string { return "/v2/health/ready" }

func (inference) verdict(status int, _ http.Header, _ []byte) connector.Verdict {
	return byStatus(status) // an error is a sentence, which may hold what was asked
}

func (m *Model) described(answer any) (connector.Description, error) {
	inputs, ok := object(answer)["inputs"].([]any)
	if !ok {
		return connector.Description{}, malformed(m, "it does not say its inputs")
	}
	var d connector.Description
	for _, i := range inputs {
		name, _ := object(i)["name"].(string)
		datatype, _ := object(i)["datatype"].(string)
		if name == "" {
			return connector.Description{}, malformed(m, "an input has no name")
		}
		d.Columns = append(d.Columns, connector.Described{Name: name, Type: ours[datatype]})
	}
	return d, nil
}
