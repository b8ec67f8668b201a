package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/ordered"
)

const (
	// lettersOfToken is what a token is taken to have.
	lettersOfToken = 4
	created        = 1777852800 // of the model
)

type (
	completion struct {
		Model     string    `json:"model"`
		Messages  []message `json:"messages"`
		Format    *format   `json:"response_format"`
		MaxTokens int       `json:"max_completion_tokens"`
		OldTokens int       `json:"max_tokens"`
		Stream    bool      `json:"stream"`
		N         int       `json:"n"`
	}

	message struct {
		Role    string `json:"role"`
		Content any    `json:"content"`
	}

	format struct {
		Type   string `json:"type"`
		Schema *struct {
			Name   string         `json:"name"`
			Strict bool           `json:"strict"`
			Schema map[string]any `json:"schema"`
		} `json:"json_schema"`
	}
)

func (s *System) listed() exchange.Answer {
	list := []*ordered.Object{}
	for _, m := range s.models {
		list = append(list, ordered.New("id", Name+"@"+m.Version, "object", "model", "created", created, "owned_by", "sandbox"))
	}
	list = append(list, ordered.New("id", Name, "object", "model", "created", created, "owned_by", "sandbox"))
	return jsonAnswer(ordered.New("object", "list", "data", list))
}

// chat serves chat completions: the last message of the user is the customer as JSON,
// the way an application sends a record to a model.
func (s *System) chat(c *exchange.Call) (exchange.Answer, *problem) {
	var q completion
	if err := decode(c.Body, &q); err != nil {
		return exchange.Answer{}, &problem{status: http.StatusBadRequest, text: "We could not parse the JSON body of your request."}
	}
	name, version, _ := strings.Cut(q.Model, "@")
	m, known := s.version(c, version)
	switch {
	case name != Name || !known:
		return exchange.Answer{}, &problem{status: http.StatusNotFound, code: "model_not_found", param: "model", text: "The model does not exist or you do not have access to it."}
	case len(q.Messages) == 0:
		return exchange.Answer{}, &problem{status: http.StatusBadRequest, param: "messages", text: "Invalid 'messages': empty array."}
	case q.Stream, q.N > 1:
		return exchange.Answer{}, &problem{status: http.StatusBadRequest, code: "unsupported_value", param: "stream", text: "Streams and several choices are not supported by this model."}
	}
	cu := newCustomer()
	if p := cu.constrain(q.Format); p != nil {
		return exchange.Answer{}, p
	}
	asked := letters(q.Messages)
	content, finish, refusal := "", "stop", any(nil)
	if cu.listen(q.Messages) && c.Odd != faults.RefuseToAnswer {
		odd := c.Odd
		if q.Format == nil || q.Format.Type == "text" {
			odd = faults.Prose // nobody asked for JSON alone
		}
		if odd == faults.StopHalfway {
			finish = "length"
		}
		content = cu.decide(m, odd).text(odd)
	} else {
		refusal = "I can only help with a customer that is sent as a JSON object."
	}
	if limit := max(q.MaxTokens, q.OldTokens); limit > 0 && len(content) > limit*lettersOfToken {
		content, finish = content[:limit*lettersOfToken], "length"
	}
	said := ordered.New("role", "assistant", "content", content, "refusal", refusal)
	if refusal != nil {
		said = ordered.New("role", "assistant", "content", nil, "refusal", refusal)
	}
	sum := sha256.Sum256(c.Body)
	prompt, written := tokens(asked), tokens(len(content))
	answer := jsonAnswer(ordered.New("id", "chatcmpl-"+hex.EncodeToString(sum[:12]), "object", "chat.completion", "created", c.At.Unix(), "model", Name,
		"system_fingerprint", m.Version,
		"choices", []*ordered.Object{ordered.New("index", 0, "message", said, "logprobs", nil, "finish_reason", finish)},
		"usage", ordered.New("prompt_tokens", prompt, "completion_tokens", written, "total_tokens", prompt+written)))
	answer.Header.Set("X-Request-Id", "req_"+hex.EncodeToString(sum[12:24]))
	return answer, nil
}

func tokens(letters int) int { return (letters + lettersOfToken - 1) / lettersOfToken }

func letters(messages []message) int {
	n := 0
	for _, m := range messages {
		n += len(m.text())
	}
	return n
}

// text is the content of a message, which may come in parts.
func (m message) text() string {
	if text, ok := m.Content.(string); ok {
		return text
	}
	var b strings.Builder
	parts, _ := m.Content.([]any)
	for _, p := range parts {
		part, _ := p.(map[string]any)
		text, _ := part["text"].(string)
		b.WriteString(text)
	}
	return b.String()
}

// listen reads the customer out of what the user said last. What the model does not
// know it does not read, as models do.
func (c *customer) listen(messages []message) bool {
	for _, m := range slices.Backward(messages) {
		if m.Role != "user" {
			continue
		}
		var said map[string]any
		if decode([]byte(m.text()), &said) != nil {
			return false
		}
		if rows, ok := said[Evidence]; ok && c.setRows(rows) != nil {
			return false
		}
		for name, v := range said {
			if number, ok := v.(json.Number); ok && name != Evidence {
				c.numbers[name] = number
			}
		}
		return true
	}
	return false
}

var schemaName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// constrain holds the answer to the schema that was asked for.
func (c *customer) constrain(f *format) *problem {
	wrong := func(text string) *problem {
		return &problem{status: http.StatusBadRequest, param: "response_format", text: text}
	}
	switch {
	case f == nil, f.Type == "text", f.Type == "json_object":
		return nil
	case f.Type != "json_schema":
		return wrong("Invalid value for 'response_format.type'.")
	case f.Schema == nil || !schemaName.MatchString(f.Schema.Name):
		return wrong("Invalid 'response_format.json_schema.name': string does not match pattern '^[a-zA-Z0-9_-]+$', of at most 64 characters.")
	case f.Schema.Strict && !strict(f.Schema.Schema):
		return wrong("Invalid schema for response_format: 'additionalProperties' is required to be supplied and to be false, and 'required' to name every property.")
	}
	properties, _ := f.Schema.Schema["properties"].(map[string]any)
	action, _ := properties["action"].(map[string]any)
	if list, ok := action["enum"].([]any); ok {
		c.offered = []string{}
		for _, v := range list {
			name, _ := v.(string)
			c.offered = append(c.offered, name)
		}
	}
	evidence, _ := properties["evidence"].(map[string]any)
	if most, ok := evidence["maxItems"].(json.Number); ok {
		if n, err := most.Int64(); err == nil {
			c.most = int(min(max(n, 0), defaultMost))
		}
	}
	return nil
}

// strict is what a schema has to be for an answer that is held to it.
func strict(schema map[string]any) bool {
	if schema["type"] != "object" {
		return true
	}
	required, _ := schema["required"].([]any)
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		inner, _ := p.(map[string]any)
		if !slices.Contains(required, any(name)) || !strict(inner) {
			return false
		}
	}
	return schema["additionalProperties"] == false
}
