package model

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/strictjson"
)

// System is the connector's name in connections.yaml.
const System = "model"

// The protocols.
const (
	OpenInference = "oip-v2"
	MLflow        = "mlflow"
	AzureML       = "azureml-score"
	OpenAIChat    = "openai-chat"
)

const (
	defaultMaxBytes   = 1 << 20
	defaultConcurrent = 4
	defaultTokens     = "800"
)

// options of a connection, with the values that are allowed; none: any text.
var options = map[string][]string{
	"protocol": {OpenInference, MLflow, AzureML, OpenAIChat}, "auth_header": nil, "api_key": nil, "token_auth": nil, "probe": nil, "path": nil, "inputs": nil,
	// Open Inference Protocol
	"answer": nil, "shape": {"1,1", "1"}, "instructions_input": nil, "schema_input": nil,
	// Azure ML
	"request": {"input_data", "data", "records"}, "deployment": nil,
	// chat
	"response_format": {"json_schema", "json_object", "none"}, "tokens_param": {"max_completion_tokens", "max_tokens"}, "max_tokens": nil, "seed": nil,
}

type (
	// Model is one connection; safe for concurrent use.
	Model struct {
		transport *connector.Transport
		config    connector.Config
		deps      connector.Deps
		speaks    protocol
	}

	// protocol is one wire. ask makes the request; read takes the answer out of the
	// JSON of a success.
	protocol interface {
		ask(m *Model, p connector.Prediction, inputs []connector.Feature) (target string, body any, header http.Header)
		read(m *Model, p connector.Prediction, answer any, header http.Header) (connector.Predicted, error)
		probe() string
		verdict(status int, h http.Header, body []byte) connector.Verdict
	}
)

var (
	_ connector.Predictor = (*Model)(nil)
	_ connector.Prober    = (*Model)(nil)
	_ connector.Describer = (*Model)(nil)
)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*Model, error) {
	for name, value := range c.Options {
		allowed, known := options[name]
		switch {
		case !known:
			return nil, fault.Invalidf("connector.option", "connection %s has no option %q; there are %s", c.Name, name, strings.Join(slices.Sorted(maps.Keys(options)), ", "))
		case allowed != nil && !slices.Contains(allowed, value):
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is one of %s", c.Name, name, strings.Join(allowed, ", "))
		case (name == "max_tokens" || name == "seed") && !whole.MatchString(value):
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is a whole number", c.Name, name)
		case (name == "auth_header") && !token.MatchString(value):
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is the name of a header", c.Name, name)
		}
	}
	if (c.Options["auth_header"] == "") != (c.Options["api_key"] == "") {
		return nil, fault.Invalidf("connector.option", "connection %s: options auth_header and api_key belong together", c.Name)
	}
	if c.Limits.MaxBytes <= 0 {
		c.Limits.MaxBytes = defaultMaxBytes
	}
	if c.Limits.Concurrent <= 0 {
		c.Limits.Concurrent = defaultConcurrent
	}
	m := &Model{config: c, deps: d}
	m.speaks = map[string]protocol{OpenInference: inference{}, MLflow: mlflow{}, AzureML: azureML{}, OpenAIChat: chat{}}[m.option("protocol", OpenInference)]
	var err error
	m.transport, err = connector.NewTransport(c, d, connector.Vendor{System: System, Header: http.Header{"Accept": {"application/json"}}, Verdict: m.speaks.verdict})
	if err != nil {
		return nil, err
	}
	return m, nil
}

var (
	whole = regexp.MustCompile(`^[0-9]{1,9}$`)
	token = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
)

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

func (m *Model) option(name, usual string) string { return cmp.Or(m.config.Options[name], usual) }

// Urgent implements connector.Expeditor.
func (m *Model) Urgent() any {
	u := *m
	u.transport = m.transport.Urgent()
	return &u
}

// Predict asks once. It changes nothing at the server, so that a lost answer is only
// that: Unavailable.
func (m *Model) Predict(ctx context.Context, p connector.Prediction) (connector.Predicted, error) {
	if p.Model == "" {
		return connector.Predicted{}, fault.Invalidf("model.name", "a question to %s names no model", m.config.Name)
	}
	inputs, err := m.inputs(p)
	if err != nil {
		return connector.Predicted{}, err
	}
	target, body, header := m.speaks.ask(m, p, inputs)
	text, err := json.Marshal(body)
	if err != nil {
		return connector.Predicted{}, fault.New(fault.Invalid, "model.question", "a question to "+m.config.Name+" cannot be written as JSON", nil)
	}
	var answer any
	got, err := m.do(ctx, connector.Request{Method: http.MethodPost, Target: target, Body: text, Header: header, Decode: into(&answer)})
	if err != nil {
		return connector.Predicted{}, err
	}
	return m.speaks.read(m, p, answer, got.Header)
}

// into takes whatever JSON a success is: a scoring script answers with bare lists.
func into(answer *any) func(http.Header, []byte) error {
	return func(_ http.Header, body []byte) (err error) {
		*answer, err = strictjson.Decode(body, "")
		return err
	}
}

func (m *Model) do(ctx context.Context, r connector.Request) (connector.Answer, error) {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if len(r.Body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if name := m.config.Options["auth_header"]; name != "" {
		value, err := m.deps.Value(m.config.Name, m.config.Options["api_key"])
		if err != nil {
			return connector.Answer{}, err
		}
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			return connector.Answer{}, fault.Invalidf("connector.option", "connection %s: the api_key is no value of a header", m.config.Name)
		}
		r.Header.Set(name, value)
	}
	return m.transport.Do(ctx, r, nil)
}

// inputs are those of a question that may leave.
func (m *Model) inputs(p connector.Prediction) ([]connector.Feature, error) {
	var only []string
	if list := m.option("inputs", ""); list != "" {
		for _, name := range strings.Split(list, ",") {
			only = append(only, strings.TrimSpace(name))
		}
	}
	out := make([]connector.Feature, 0, len(p.Inputs))
	for _, f := range p.Inputs {
		if only != nil && !slices.Contains(only, f.Name) {
			continue
		}
		if _, ok := f.Value.([]byte); f.Value != nil && (f.Type == "json") != ok {
			return nil, fault.Invalidf("model.input", "the input %q of a question is not of its type", f.Name)
		}
		out = append(out, f)
	}
	return out, nil
}

// Probe asks whether the server is ready.
func (m *Model) Probe(ctx context.Context) error {
	_, err := m.do(ctx, connector.Request{Method: http.MethodGet, Target: rooted(m.option("probe", m.speaks.probe()))})
	return err
}

// Describe tells the inputs of a model, where the protocol has words for that. The table
// is the model's name, with "@" and a version behind it if one is meant.
func (m *Model) Describe(ctx context.Context, table string) (connector.Description, error) {
	if _, ok := m.speaks.(inference); !ok {
		return connector.Description{}, fault.Invalidf("connector.no_metadata", "a server of %s does not tell its inputs", m.option("protocol", OpenInference))
	}
	name, version, _ := strings.Cut(table, "@")
	var answer any
	if _, err := m.do(ctx, connector.Request{Method: http.MethodGet, Target: modelPath(name, version), Decode: into(&answer)}); err != nil {
		return connector.Description{}, err
	}
	return m.described(answer)
}

func rooted(path string) string { return "/" + strings.TrimLeft(path, "/") }

func modelPath(name, version string) string {
	path := "/v2/models/" + url.PathEscape(name)
	if version != "" {
		path += "/versions/" + url.PathEscape(version)
	}
	return path
}

// rejected is the fault of an answer that is none; what says so without any word of it.
func (m *Model) rejected(code, what string) error {
	return fault.New(fault.Rejected, "model."+code, "the answer of "+m.config.Name+" cannot be used: "+what, nil)
}

// object is what an answer should be.
func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

// text is the answer as text: that of a string itself, of anything else its JSON.
func text(v any) []byte {
	if s, ok := v.(string); ok {
		return []byte(s)
	}
	b, _ := json.Marshal(v) // it came as JSON
	return b
}

// value is an input as JSON has it.
func value(f connector.Feature) any {
	if raw, ok := f.Value.([]byte); ok {
		return json.RawMessage(raw)
	}
	return f.Value
}

// cell is an input as a table of numbers and texts has it.
func cell(f connector.Feature) any {
	if raw, ok := f.Value.([]byte); ok {
		return string(raw)
	}
	return f.Value
}

// columns are the inputs as a frame of one row.
func columns(inputs []connector.Feature) (names []string, row []any) {
	names, row = make([]string, len(inputs)), make([]any, len(inputs))
	for i, f := range inputs {
		names[i], row[i] = f.Name, cell(f)
	}
	return names, row
}

// byStatus is what a status says of a model, whatever the protocol.
func byStatus(status int) connector.Verdict {
	switch status {
	case http.StatusNotFound:
		return connector.Verdict{Reason: "unknown_model", Class: fault.NotFound, Text: "does not know the model, or its version"}
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType, http.StatusMethodNotAllowed:
		return connector.Verdict{Reason: "bad_request", Class: fault.Invalid, Text: "does not take the question as it is asked; compare inputs and protocol with the model"}
	case http.StatusRequestEntityTooLarge:
		return connector.Verdict{Reason: "question_too_large", Class: fault.Invalid, Text: "does not take a question of this size"}
	case http.StatusConflict, http.StatusFailedDependency:
		return connector.Verdict{Reason: "unavailable", Class: fault.Unavailable, Text: "has no model that answers"}
	}
	return connector.Verdict{}
}

// vendorCode is a code of the vendor's as far as it is one, safe to show.
func vendorCode(v any) string {
	s, _ := v.(string)
	if !code.MatchString(s) {
		return ""
	}
	return s
}

var code = regexp.MustCompile(`^[A-Za-z][A-Za-z_]{1,39}$`)

// number reads a whole number of a header.
func number(h http.Header, name string) int {
	n, err := strconv.Atoi(strings.TrimSpace(h.Get(name)))
	if err != nil {
		return 0
	}
	return n
}

func malformed(m *Model, what string) error { return m.transport.Malformed(what) }
