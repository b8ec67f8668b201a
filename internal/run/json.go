package run

import (
	"bytes"
	"encoding/json"
	"strconv"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// decode reads JSON of our own, numbers as json.Number: a decimal stays exact.
func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return d.Decode(into)
}

func encode(v any) ([]byte, error) {
	body, err := json.Marshal(v) // map keys are sorted: the encoding is canonical
	if err != nil {
		return nil, fault.New(fault.Bug, "run.encode", "a value of the run cannot be encoded", err)
	}
	return body, nil
}

// typed restores the Go type that flow.Plan.Validate gives a value and that JSON
// does not keep.
func typed(t flow.Type, v any) any {
	if n, ok := v.(json.Number); ok && t == flow.Int {
		if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
			return i
		}
	}
	return v
}

// typedParams does so for all parameters of a run.
func typedParams(plan *flow.Plan, params flow.Row) flow.Row {
	for _, p := range plan.Params {
		if v, ok := params[p.Name]; ok {
			params[p.Name] = typed(p.Type, v)
		}
	}
	return params
}
