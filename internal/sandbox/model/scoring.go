package model

import (
	"mime"
	"net/http"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/model/learned"
	"patchbay/internal/sandbox/ordered"
)

// frame is a table as pandas writes it.
type frame struct {
	Columns []string `json:"columns"`
	Data    [][]any  `json:"data"`
}

// invocations serves the scoring server of MLflow.
func (s *System) invocations(c *exchange.Call) (exchange.Answer, *problem) {
	kind, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || kind != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		answer := plainText("This predictor only supports the following content types: ['application/json'].")
		answer.Status = http.StatusUnsupportedMediaType
		return answer, nil
	}
	var q struct {
		Split     *frame           `json:"dataframe_split"`
		Records   []map[string]any `json:"dataframe_records"`
		Instances []map[string]any `json:"instances"`
		Inputs    map[string][]any `json:"inputs"`
		Params    map[string]any   `json:"params"`
	}
	if err := decode(c.Body, &q); err != nil {
		return exchange.Answer{}, bad("Failed to parse input as JSON.")
	}
	var rows []map[string]any
	given := 0
	if q.Split != nil {
		given++
		var p *problem
		if rows, p = q.Split.rows(); p != nil {
			return exchange.Answer{}, p
		}
	}
	for _, list := range [][]map[string]any{q.Records, q.Instances} {
		if list != nil {
			given++
			rows = list
		}
	}
	if q.Inputs != nil {
		given++
		for name, column := range q.Inputs {
			for i, v := range column {
				for len(rows) <= i {
					rows = append(rows, map[string]any{})
				}
				rows[i][name] = v
			}
		}
	}
	if given != 1 {
		return exchange.Answer{}, bad("The input must be a JSON dictionary with exactly one of the input fields {'dataframe_split', 'instances', 'inputs', 'dataframe_records'}.")
	}
	m, _ := s.version(c, "")
	predictions, p := s.predictions(c, m, rows)
	if p != nil {
		return exchange.Answer{}, p
	}
	return jsonAnswer(ordered.New("predictions", predictions)), nil
}

// rows are the rows of a frame, by name.
func (f *frame) rows() ([]map[string]any, *problem) {
	rows := make([]map[string]any, len(f.Data))
	for i, cells := range f.Data {
		if len(cells) != len(f.Columns) {
			return nil, bad("Failed to parse input: %d columns passed, passed data had %d columns", len(f.Columns), len(cells))
		}
		rows[i] = make(map[string]any, len(cells))
		for k, v := range cells {
			rows[i][f.Columns[k]] = v
		}
	}
	return rows, nil
}

func (s *System) predictions(c *exchange.Call, m learned.Model, rows []map[string]any) ([]any, *problem) {
	if len(rows) == 0 || len(rows) > maxRows {
		return nil, bad("The input has 1 to %d rows.", maxRows)
	}
	out := make([]any, 0, len(rows))
	for _, r := range rows {
		cu := newCustomer()
		for name, v := range r {
			if p := cu.set(name, v); p != nil {
				return nil, p
			}
		}
		v := cu.decide(m, c.Odd)
		switch c.Odd {
		case faults.Prose, faults.RefuseToAnswer, faults.StopHalfway:
			out = append(out, v.text(c.Odd))
		default:
			out = append(out, v.object(c.Odd))
		}
	}
	if c.Odd == faults.FewerOutputs {
		out = out[:len(out)-1]
	}
	return out, nil
}

// deployments are the versions behind an endpoint of Azure ML.
var deployments = map[string]string{"blue": "1", "green": "2"}

// score serves an online endpoint of Azure ML with a model that MLflow logged.
func (s *System) score(c *exchange.Call) (exchange.Answer, *problem) {
	name := c.Header.Get("Azureml-Model-Deployment")
	if name == "" {
		name = "green"
	}
	version, known := deployments[name]
	if !known {
		return exchange.Answer{}, &problem{status: http.StatusNotFound, text: "no deployment " + name + " is found for the endpoint"}
	}
	var q struct {
		Input *frame `json:"input_data"`
		Data  []any  `json:"data"`
	}
	if err := decode(c.Body, &q); err != nil || (q.Input == nil) == (q.Data == nil) {
		return exchange.Answer{}, bad("Expected one of the keys: input_data, data.")
	}
	var rows []map[string]any
	var p *problem
	if q.Input != nil {
		rows, p = q.Input.rows()
	} else {
		rows, p = positional(q.Data)
	}
	if p != nil {
		return exchange.Answer{}, p
	}
	m, _ := s.version(c, version)
	predictions, p := s.predictions(c, m, rows)
	if p != nil {
		return exchange.Answer{}, p
	}
	list := ordered.New("list", predictions).Bytes()
	list = list[strings.Index(string(list), "[") : len(list)-1]
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}, "Azureml-Model-Deployment": {name}}, Body: list}, nil
}

// positional reads rows by name, or as lists in the order of the model's inputs.
func positional(data []any) ([]map[string]any, *problem) {
	names := append(append([]string{}, learned.Features...), Evidence)
	rows := make([]map[string]any, len(data))
	for i, d := range data {
		switch d := d.(type) {
		case map[string]any:
			rows[i] = d
		case []any:
			if len(d) > len(names) {
				return nil, bad("a row has more than %d values", len(names))
			}
			rows[i] = map[string]any{}
			for k, v := range d {
				rows[i][names[k]] = v
			}
		default:
			return nil, bad("a row is neither an object nor a list")
		}
	}
	return rows, nil
}
