package connector

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"patchbay/internal/fault"
)

const (
	// tokenReserve is how long before its end a token is no longer used.
	tokenReserve = time.Minute

	signInRefused   = "vendor.sign_in_refused"
	signInThrottled = "vendor.sign_in_throttled"
)

type (
	// tokens keeps the access token of one connection (OAuth 2.0, client
	// credentials). Any number of requests that need a new token cause one call.
	tokens struct {
		t       *Transport
		mu      sync.Mutex
		value   string
		expires time.Time
		running *flight // the call under way, if any
	}

	flight struct {
		done  chan struct{}
		value string
		err   error
	}
)

// authorize signs the request and returns the token it used, if any.
func (t *Transport) authorize(ctx context.Context, r *http.Request) (string, error) {
	switch t.config.Auth.Kind {
	case "basic":
		user, err := t.resolve(t.config.Auth.Username)
		if err != nil {
			return "", err
		}
		password, err := t.resolve(t.config.Auth.Password)
		if err != nil {
			return "", err
		}
		r.SetBasicAuth(user, password)
	case "oauth2":
		token, err := t.tokens.get(ctx)
		if err != nil {
			return "", err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		return token, nil
	}
	return "", nil
}

// get returns a token that is good for the next minute. The call for a new one
// outlives the caller that caused it: others wait for the same.
func (s *tokens) get(ctx context.Context) (string, error) {
	s.mu.Lock()
	if s.value != "" && s.t.now().Before(s.expires) {
		defer s.mu.Unlock()
		return s.value, nil
	}
	f := s.running
	if f == nil {
		f = &flight{done: make(chan struct{})}
		s.running = f
		go s.fetch(context.WithoutCancel(ctx), f)
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// drop forgets a token that the system refused, unless it is replaced already.
func (s *tokens) drop(refused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value == refused {
		s.value = ""
	}
}

func (s *tokens) fetch(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, s.t.timeout)
	defer cancel()
	value, lifetime, err := s.t.requestToken(ctx)
	f.value, f.err = value, err
	s.mu.Lock()
	s.running = nil
	if err == nil {
		reserve := min(time.Duration(float64(tokenReserve)/s.t.limits.speed), lifetime/2)
		s.value, s.expires = value, s.t.now().Add(lifetime-reserve)
	}
	s.mu.Unlock()
	close(f.done)
}

func (t *Transport) requestToken(ctx context.Context) (string, time.Duration, error) {
	r, err := t.tokenRequest(ctx)
	if err != nil {
		return "", 0, err
	}
	answer, err := t.client.Do(r)
	if err != nil {
		return "", 0, fault.New(fault.Unavailable, "vendor.sign_in_unreachable", "nobody answers where "+t.config.Name+" gets its token", bare(err))
	}
	defer answer.Body.Close()
	body, err := readBody(answer, 1<<20)
	if err != nil {
		return "", 0, fault.New(fault.Unavailable, "vendor.truncated", "the answer of the token endpoint of "+t.config.Name+" ends in the middle or is too large", bare(err))
	}
	if answer.StatusCode != http.StatusOK {
		return "", 0, t.refusedToken(answer, body)
	}
	got, err := decode(body)
	token, _ := got["access_token"].(string)
	if kind, _ := got["token_type"].(string); err != nil || token == "" || !isHeaderValue(token) || !strings.EqualFold(kind, "bearer") {
		return "", 0, fault.New(fault.Unavailable, "vendor.malformed", "the token endpoint of "+t.config.Name+" answered without a bearer token", nil)
	}
	return token, lifetime(got["expires_in"]), nil // a number; in text at the older endpoints
}

func (t *Transport) tokenRequest(ctx context.Context) (*http.Request, error) {
	a := t.config.Auth
	values := make([]string, 4)
	for i, text := range []string{a.TokenURL, a.ClientID, a.ClientSecret, a.Scope} {
		var err error
		if values[i], err = t.resolve(text); err != nil {
			return nil, err
		}
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if values[3] != "" {
		form.Set("scope", values[3])
	}
	inHeader := t.config.Options["token_auth"] == "header"
	if !inHeader {
		form.Set("client_id", values[1])
		form.Set("client_secret", values[2])
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, values[0], strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fault.Invalidf("connector.url", "connection %s: token_url is no URL", t.config.Name)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if inHeader {
		r.SetBasicAuth(url.QueryEscape(values[1]), url.QueryEscape(values[2]))
	}
	if t.vendor.SignIn != nil {
		if err := t.vendor.SignIn(r.Header); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// oauthErrors are the error codes of RFC 6749, section 5.2, which are safe to show.
var oauthErrors = []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

func (t *Transport) refusedToken(answer *http.Response, body []byte) error {
	after, _ := retryAfter(answer.Header, t.now())
	switch status := answer.StatusCode; {
	case status == http.StatusTooManyRequests:
		return fault.ThrottledFor(max(after, time.Second), signInThrottled, "the token endpoint of "+t.config.Name+" asks to slow down", nil)
	case status >= 500 || status == http.StatusRequestTimeout:
		f := fault.New(fault.Unavailable, "vendor.sign_in_unavailable", "the token endpoint of "+t.config.Name+" is not available", nil)
		f.After = after
		return f
	}
	var said struct {
		Error string `json:"error"`
	}
	text := "connection " + t.config.Name + " could not sign in: its client was refused"
	if json.Unmarshal(body, &said) == nil && slices.Contains(oauthErrors, said.Error) {
		text += " (" + said.Error + ")"
	}
	return fault.New(fault.Unauthorized, signInRefused, text, nil)
}

// lifetime reads expires_in; without one a token is used for five minutes.
func lifetime(expires any) time.Duration {
	const unknown = 5 * time.Minute
	var text string
	switch e := expires.(type) {
	case json.Number:
		text = e.String()
	case string:
		text = e
	default:
		return unknown
	}
	d, err := time.ParseDuration(text + "s")
	if err != nil || d <= 0 {
		return unknown
	}
	return d
}

func isHeaderValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
