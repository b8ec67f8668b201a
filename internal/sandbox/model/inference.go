package model

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/model/learned"
	"patchbay/internal/sandbox/ordered"
)

// maxRows bounds one request, as servers bound a batch.
const maxRows = 256

type tensor struct {
	Name     string          `json:"name"`
	Shape    []json.Number   `json:"shape"`
	Datatype string          `json:"datatype"`
	Data     json.RawMessage `json:"data"`
}

// inference serves the Open Inference Protocol v2.
func (s *System) inference(c *exchange.Call) (exchange.Answer, *problem) {
	rest := strings.Trim(strings.TrimPrefix(c.Path, "/v2"), "/")
	get := c.Method == http.MethodGet
	switch {
	case get && rest == "":
		return jsonAnswer(ordered.New("name", "sandbox", "version", "1.0", "extensions", []string{})), nil
	case get && (rest == "health/live" || rest == "health/ready"):
		return jsonAnswer(ordered.New("live", true)), nil
	}
	parts := strings.Split(rest, "/")
	if len(parts) < 2 || parts[0] != "models" {
		return exchange.Answer{}, &problem{status: http.StatusNotFound, text: "there is nothing at " + c.Path}
	}
	name, version, act := parts[1], "", ""
	parts = parts[2:]
	if len(parts) >= 2 && parts[0] == "versions" {
		version, parts = parts[1], parts[2:]
	}
	if len(parts) > 0 {
		act = strings.Join(parts, "/")
	}
	m, known := s.version(c, version)
	if name != Name || !known {
		return exchange.Answer{}, &problem{status: http.StatusNotFound, text: "Model " + name + " is not found"}
	}
	switch {
	case get && act == "":
		return jsonAnswer(s.metadata()), nil
	case get && act == "ready":
		return jsonAnswer(ordered.New("name", Name, "ready", true)), nil
	case c.Method == http.MethodPost && act == "infer":
		return s.infer(c, m)
	}
	return exchange.Answer{}, &problem{status: http.StatusNotFound, text: "there is nothing at " + c.Path}
}

// datatypes of the features: those that count are whole.
func datatype(feature string) string {
	if slices.Contains([]string{"order_value", "overdue_amount"}, feature) {
		return "FP64"
	}
	return "INT64"
}

func (s *System) metadata() *ordered.Object {
	tensors := func(pairs ...string) []*ordered.Object {
		var out []*ordered.Object
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, ordered.New("name", pairs[i], "datatype", pairs[i+1], "shape", []int{-1, 1}))
		}
		return out
	}
	var inputs, versions []string
	for _, f := range learned.Features {
		inputs = append(inputs, f, datatype(f))
	}
	for _, m := range s.models {
		versions = append(versions, m.Version)
	}
	return ordered.New("name", Name, "versions", versions, "platform", "sandbox_logistic",
		"inputs", tensors(append(inputs, Evidence, "BYTES")...), "outputs", tensors("action", "BYTES", "score", "FP64", "answer", "BYTES"))
}

func (s *System) infer(c *exchange.Call, m learned.Model) (exchange.Answer, *problem) {
	var q struct {
		ID      string   `json:"id"`
		Inputs  []tensor `json:"inputs"`
		Outputs []struct {
			Name string `json:"name"`
		} `json:"outputs"`
	}
	if err := decode(c.Body, &q); err != nil {
		return exchange.Answer{}, bad("the request is no JSON of an inference request")
	}
	customers, p := customersOf(q.Inputs)
	if p != nil {
		return exchange.Answer{}, p
	}
	n := len(customers)
	actions, scores, answers := make([]any, n), make([]any, n), make([]any, n)
	version := m.Version
	for i, cu := range customers {
		v := cu.decide(m, c.Odd)
		actions[i], answers[i] = v.Action, v.text(c.Odd)
		if at := slices.Index(learned.Actions, v.Action); at >= 0 {
			scores[i] = v.Scores[at]
		} else {
			scores[i] = 0
		}
	}
	if c.Odd == faults.FewerOutputs {
		actions, scores, answers = actions[:n-1], scores[:n-1], answers[:n-1]
	}
	all := map[string]*ordered.Object{}
	for name, of := range map[string]struct {
		datatype string
		data     []any
	}{"action": {"BYTES", actions}, "score": {"FP64", scores}, "answer": {"BYTES", answers}} {
		all[name] = ordered.New("name", name, "shape", []int{n, 1}, "datatype", of.datatype, "data", of.data)
	}
	names := []string{"action", "score"}
	if customers[0].hasRows {
		names = append(names, "answer")
	}
	if len(q.Outputs) > 0 {
		names = names[:0]
		for _, o := range q.Outputs {
			names = append(names, o.Name)
		}
	}
	var outputs []*ordered.Object
	for _, name := range names {
		if all[name] == nil {
			return exchange.Answer{}, bad("unexpected inference output '%s' for model '%s'", name, Name)
		}
		outputs = append(outputs, all[name])
	}
	body := ordered.New("model_name", Name, "model_version", version)
	if q.ID != "" {
		body.Set("id", q.ID)
	}
	return jsonAnswer(body.Set("outputs", outputs)), nil
}

// customersOf takes the rows out of tensors of one column each.
func customersOf(inputs []tensor) ([]*customer, *problem) {
	if len(inputs) == 0 {
		return nil, bad("the request has no inputs")
	}
	var customers []*customer
	seen := map[string]bool{}
	for _, in := range inputs {
		var nested []any
		if decode(in.Data, &nested) != nil {
			return nil, bad("input '%s' has no data", in.Name)
		}
		data := flat(nested, nil)
		n := 1
		for _, d := range in.Shape {
			size, err := d.Int64()
			if err != nil || size < 0 || size > maxRows {
				return nil, bad("unexpected shape for input '%s'; at most %d rows of one column", in.Name, maxRows)
			}
			n *= int(size)
		}
		if len(in.Shape) == 0 || n != len(data) || n == 0 || len(in.Shape) > 2 || len(in.Shape) == 2 && in.Shape[1] != "1" {
			return nil, bad("unexpected shape for input '%s': it is [-1,1], and its product is the number of elements", in.Name)
		}
		if customers == nil {
			for range n {
				customers = append(customers, newCustomer())
			}
		}
		if seen[in.Name] || n != len(customers) {
			return nil, bad("input '%s' comes twice, or has another number of rows", in.Name)
		}
		seen[in.Name] = true
		for i, v := range data {
			if p := fits(in, v); p != nil {
				return nil, p
			}
			if p := customers[i].set(in.Name, v); p != nil {
				return nil, p
			}
		}
	}
	return customers, nil
}

// fits checks an element against the datatype its tensor claims, and that against the model's.
func fits(in tensor, v any) *problem {
	number, isNumber := v.(json.Number)
	_, isText := v.(string)
	whole := isNumber && !strings.ContainsAny(number.String(), ".eE")
	ok := false
	switch {
	case in.Name == Evidence:
		ok = in.Datatype == "BYTES" && isText
	case strings.HasPrefix(in.Datatype, "FP"):
		ok = isNumber && (datatype(in.Name) == "FP64" || whole)
	case strings.HasPrefix(in.Datatype, "INT"), strings.HasPrefix(in.Datatype, "UINT"):
		ok = whole
	case !slices.Contains(learned.Features, in.Name):
		ok = true // it is told what there is instead
	}
	if !ok {
		return bad("unexpected datatype %s, or an element that is none, for input '%s'", in.Datatype, in.Name)
	}
	return nil
}

func flat(data, into []any) []any {
	for _, v := range data {
		if inner, ok := v.([]any); ok {
			into = flat(inner, into)
		} else {
			into = append(into, v)
		}
	}
	return into
}
