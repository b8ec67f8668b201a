package model

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// chat is the chat completions of OpenAI and of those who speak as it does. The inputs
// are one JSON object, the words of the user.
type chat struct{}

func (chat) ask(m *Model, p connector.Prediction, inputs []connector.Feature) (string, any, http.Header) {
	said := make(map[string]any, len(inputs))
	for _, f := range inputs {
		said[f.Name] = value(f)
	}
	user, _ := json.Marshal(said) // values of JSON
	tokens, _ := strconv.Atoi(m.option("max_tokens", defaultTokens))
	body := map[string]any{
		"model": p.Model, "temperature": 0,
		m.option("tokens_param", "max_completion_tokens"): tokens,
		"messages": []any{map[string]any{"role": "system", "content": p.Instructions}, map[string]any{"role": "user", "content": string(user)}},
	}
	if seed, err := strconv.Atoi(m.option("seed", "")); err == nil {
		body["seed"] = seed
	}
	switch m.option("response_format", "json_schema") {
	case "json_schema":
		body["response_format"] = map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": "answer", "strict": true, "schema": json.RawMessage(p.Schema)}}
	case "json_object":
		body["response_format"] = map[string]any{"type": "json_object"}
	}
	return rooted(m.option("path", "/v1/chat/completions")), body, nil
}

func (chat) read(m *Model, _ connector.Prediction, answer any, _ http.Header) (connector.Predicted, error) {
	got := object(answer)
	choices := list(got["choices"])
	if len(choices) != 1 {
		return connector.Predicted{}, malformed(m, "it has not one choice")
	}
	choice := object(choices[0])
	message := object(choice["message"])
	finish, _ := choice["finish_reason"].(string)
	content, isText := message["content"].(string)
	switch {
	case message["refusal"] != nil && message["refusal"] != "":
		return connector.Predicted{}, m.rejected("refused", "the model refused to answer")
	case finish == "length":
		return connector.Predicted{}, m.rejected("truncated", "it ends at the limit of tokens")
	case finish == "content_filter":
		return connector.Predicted{}, m.rejected("filtered", "a filter of the provider took it away")
	case len(list(message["tool_calls"])) > 0:
		return connector.Predicted{}, m.rejected("tool", "the model wants a tool to be called")
	case !isText:
		return connector.Predicted{}, malformed(m, "it has no content")
	}
	name, _ := got["model"].(string)
	version, _ := got["system_fingerprint"].(string)
	return connector.Predicted{Model: name, Version: version, Answer: []byte(content)}, nil
}

func (chat) probe() string { return "/v1/models" }

// verdict tells a provider that is busy from an account that is empty, which no wait
// fills.
func (chat) verdict(status int, h http.Header, body []byte) connector.Verdict {
	v := byStatus(status)
	var said struct {
		Error struct {
			Code any `json:"code"`
			Type any `json:"type"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &said) == nil {
		if v.Detail = vendorCode(said.Error.Code); v.Detail == "" {
			v.Detail = vendorCode(said.Error.Type)
		}
	}
	switch {
	case v.Detail == "insufficient_quota":
		return connector.Verdict{Reason: "quota_spent", Class: fault.Unauthorized, Text: "has no quota left for the account of the connection", Detail: v.Detail}
	case v.Detail == "context_length_exceeded":
		return connector.Verdict{Reason: "question_too_large", Class: fault.Invalid, Text: "does not take a question of this size", Detail: v.Detail}
	case status == http.StatusTooManyRequests:
		v.After = max(reset(h, "x-ratelimit-reset-requests"), reset(h, "x-ratelimit-reset-tokens"))
	}
	return v
}

// reset is the time until a window of the provider begins anew, "1s" or "6m0s".
func reset(h http.Header, name string) time.Duration {
	remaining := strings.Replace(name, "-reset-", "-remaining-", 1)
	if left := h.Get(remaining); left != "" && left != "0" {
		return 0 // another window is the full one
	}
	d, err := time.ParseDuration(h.Get(name))
	if err != nil || d < 0 {
		return 0
	}
	return d
}
