package sap

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
)

const (
	client        = "100" // the one client of this system
	sessionCookie = "SAP_SESSIONID_S4H_" + client
	tokenHeader   = "X-Csrf-Token"
	// sessionLife is how long a session lasts at speed 1.
	sessionLife = 30 * time.Minute
)

// A session is its cookie: who, since when, and a seal. Its token follows from it, so
// both outlive a restart of the sandbox and need no table.

func (s *System) seal(parts ...string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(strings.Join(parts, "\x00")))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *System) open(c *exchange.Call, h http.Header) {
	since := strconv.FormatInt(c.At.UnixNano(), 36)
	cookie := since + "." + s.seal("session", c.User.ClientID, since)
	h.Set(tokenHeader, s.token(cookie))
	h.Add("Set-Cookie", sessionCookie+"="+cookie+"; path=/; HttpOnly")
	h.Add("Set-Cookie", "sap-usercontext=sap-client="+client+"; path=/")
}

func (s *System) token(cookie string) string { return s.seal("csrf", cookie) + "==" }

// holds reports whether a call bears the token of a session that still lasts.
func (s *System) holds(c *exchange.Call) bool {
	cookie, err := (&http.Request{Header: c.Header}).Cookie(sessionCookie)
	if err != nil || c.Expired {
		return false
	}
	since, seal, _ := strings.Cut(cookie.Value, ".")
	began, err := strconv.ParseInt(since, 36, 64)
	life := time.Duration(float64(sessionLife) / s.speed)
	return err == nil && hmac.Equal([]byte(seal), []byte(s.seal("session", c.User.ClientID, since))) &&
		c.At.Sub(time.Unix(0, began)) < life && hmac.Equal([]byte(c.Header.Get(tokenHeader)), []byte(s.token(cookie.Value)))
}

// required is the answer to a write without a token that is good.
func required() exchange.Answer {
	return exchange.Answer{Status: http.StatusForbidden, Body: []byte("CSRF token validation failed"),
		Header: http.Header{"Content-Type": {"text/plain;charset=utf-8"}, tokenHeader: {"Required"}}}
}
