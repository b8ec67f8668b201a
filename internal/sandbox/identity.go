package sandbox

import (
	"context"
	"net/http"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/login"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// identity puts the token endpoint on a line of its own, so that it has faults
// and a record like every system. Its calls are recorded by digest alone: a
// body holds a secret.
type identity struct{ authority *login.Authority }

// Admit lets everybody in: this is where a caller becomes somebody.
func (i identity) Admit(*exchange.Call) (*exchange.Answer, func()) { return nil, nil }

// Serve answers the token endpoint.
func (i identity) Serve(_ context.Context, _ storage.Tx, c *exchange.Call) (exchange.Answer, error) {
	reply := i.authority.Serve(login.Request{Method: c.Method, Path: c.Path, Base: c.Base, Header: c.Header, Body: c.Body})
	return exchange.Answer{Status: reply.Status, Body: reply.Body.Bytes(), Header: tokenHeader()}, nil
}

// Refuse words a failure as the endpoint does.
func (i identity) Refuse(_ *exchange.Call, status int) exchange.Answer {
	code, text := "server_error", "AADSTS90033: A transient error has occurred. Please try again."
	switch status {
	case http.StatusTooManyRequests:
		code, text = "temporarily_unavailable", "AADSTS90055: The server has received too many requests. Please try again."
	case http.StatusServiceUnavailable:
		code = "temporarily_unavailable"
	case http.StatusUnauthorized, http.StatusBadRequest:
		code, text = "invalid_client", "AADSTS7000215: Invalid client secret provided."
	}
	return exchange.Answer{Status: status, Body: ordered.New("error", code, "error_description", text).Bytes(), Header: tokenHeader()}
}

func tokenHeader() http.Header {
	return http.Header{"Content-Type": {"application/json; charset=utf-8"}, "Cache-Control": {"no-store, no-cache"}, "Pragma": {"no-cache"}}
}
