package model

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/faults"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/model/learned"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// Name is what the model is called on every wire.
const Name = "next-best-action"

// Key signs in as the application patchbay does, for clients that know keys only.
const Key = "sk-sandbox"

type (
	// System is the model server. It is safe for concurrent use.
	System struct {
		authority *login.Authority
		models    []learned.Model // the newest last
	}

	// problem is a refusal, worded by the wire it came in on.
	problem struct {
		status int
		code   string // of OpenAI and MLflow
		param  string
		text   string
	}
)

func (p *problem) Error() string { return p.text }

func bad(format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, text: fmt.Sprintf(format, args...)}
}

// New returns the stand-in; authority tells who a caller is.
func New(authority *login.Authority) (*System, error) {
	models, err := learned.Load()
	return &System{authority: authority, models: models}, err
}

// Admit accepts a token, Basic, and the key, which some clients send as api-key. Health
// is open.
func (s *System) Admit(c *exchange.Call) (*exchange.Answer, func()) {
	if strings.HasPrefix(c.Path, "/v2/health/") || c.Path == "/ping" || c.Path == "/health" {
		return nil, nil
	}
	auth := c.Header.Get("Authorization")
	if auth == "Bearer "+Key || c.Header.Get("Api-Key") == Key {
		c.User = login.Users[0]
		return nil, nil
	}
	user, err := s.authority.Check(auth, true)
	if err != nil {
		refusal := s.Refuse(c, http.StatusUnauthorized)
		return &refusal, nil
	}
	c.User = user
	return nil, nil
}

// Serve answers one call.
func (s *System) Serve(_ context.Context, _ storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	answer, err := s.dispatch(c)
	if err != nil {
		return s.told(c, err), nil
	}
	return answer, nil
}

func (s *System) dispatch(c *exchange.Call) (exchange.Answer, *problem) {
	switch get, post := c.Method == http.MethodGet, c.Method == http.MethodPost; {
	case strings.HasPrefix(c.Path, "/v2"):
		return s.inference(c)
	case get && (c.Path == "/ping" || c.Path == "/health"):
		return plainText("\n"), nil
	case get && c.Path == "/":
		return plainText("healthy"), nil
	case get && c.Path == "/version":
		return plainText("3.1.0"), nil
	case post && (c.Path == "/invocations" || c.Path == "/serving-endpoints/"+Name+"/invocations"):
		return s.invocations(c)
	case post && c.Path == "/score":
		return s.score(c)
	case get && c.Path == "/v1/models":
		return s.listed(), nil
	case post && c.Path == "/v1/chat/completions":
		return s.chat(c)
	}
	return exchange.Answer{}, &problem{status: http.StatusNotFound, code: "not_found", text: "there is nothing at " + c.Path}
}

// version finds a version of the model by its name there, "" the newest. A fault may
// make it another.
func (s *System) version(c *exchange.Call, version string) (learned.Model, bool) {
	at := len(s.models) - 1
	if version != "" {
		for at = len(s.models) - 1; at >= 0 && s.models[at].Version != version; at-- {
			continue
		}
	}
	if at < 0 {
		return learned.Model{}, false
	}
	if c.Odd == faults.SwitchedVersion {
		at = (at + 1) % len(s.models)
	}
	return s.models[at], true
}

// Refuse words a failure as the wire of the call does.
func (s *System) Refuse(c *exchange.Call, status int) exchange.Answer {
	p := &problem{status: status, text: http.StatusText(status)}
	switch status {
	case http.StatusUnauthorized:
		p.code, p.text = "invalid_api_key", "Incorrect API key provided."
	case http.StatusTooManyRequests:
		p.code, p.text = "rate_limit_exceeded", "Rate limit reached for requests."
	}
	return s.told(c, p)
}

func (s *System) told(c *exchange.Call, p *problem) exchange.Answer {
	var body *ordered.Object
	switch {
	case strings.HasPrefix(c.Path, "/v1"):
		kind := "invalid_request_error"
		if p.status >= http.StatusInternalServerError {
			kind = "server_error"
		}
		body = ordered.New("error", ordered.New("message", p.text, "type", kind, "param", orNull(p.param), "code", orNull(p.code)))
	case strings.HasSuffix(c.Path, "/invocations"):
		code := "BAD_REQUEST"
		if p.code != "" {
			code = strings.ToUpper(p.code)
		}
		body = ordered.New("error_code", code, "message", p.text, "stack_trace", "Traceback (most recent call last): …")
	default:
		body = ordered.New("error", p.text)
	}
	answer := jsonAnswer(body)
	answer.Status = p.status
	return answer
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func jsonAnswer(body *ordered.Object) exchange.Answer {
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: body.Bytes()}
}

func plainText(body string) exchange.Answer {
	return exchange.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: []byte(body)}
}
