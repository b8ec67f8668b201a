package httpapi

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"

	"patchbay/internal/fault"
	"patchbay/internal/flow"
)

// maxToken bounds what is compared at all.
const maxToken = 8 << 10

// Auth decides who asks. There is no default identity: without credentials
// nobody asks, except in Dev, where the listener is on loopback, the host is one
// of its own names and the request comes from no foreign page.
type Auth struct {
	keys  Keys
	dev   bool
	hosts map[string]bool // lower case; empty serves any host unless dev
}

// newAuth binds the rules to the address that is listened on.
func newAuth(o Options, at net.Addr) *Auth {
	a := &Auth{keys: o.Keys, dev: o.Dev, hosts: map[string]bool{}}
	for _, h := range o.Hosts {
		a.hosts[strings.ToLower(h)] = true
	}
	if tcp, ok := at.(*net.TCPAddr); ok && o.Dev {
		for _, name := range []string{"127.0.0.1", "localhost", "::1"} {
			a.hosts[net.JoinHostPort(name, portOf(tcp))] = true
		}
	}
	return a
}

// Host refuses requests meant for somebody else: a rebound name reaches the
// loopback address, but not under its own Host header.
func (a *Auth) Host(r *http.Request) error {
	if len(a.hosts) == 0 && !a.dev || a.hosts[strings.ToLower(r.Host)] {
		return nil
	}
	return fault.New(fault.Invalid, "host.unknown",
		"this server does not answer under that host name; use the address it printed at its start", nil)
}

// Principal is who asks. Credentials that were sent must be right, in Dev too.
func (a *Auth) Principal(r *http.Request) (flow.Principal, error) {
	header, sent := r.Header["Authorization"]
	if sent {
		return a.bearer(header)
	}
	if preflight(r) || a.dev && foreign(r) {
		return flow.Principal{}, fault.New(fault.Unauthorized, "origin.foreign",
			"pages of another origin may not call this server; let the server of that page call it with a key", nil)
	}
	if !a.dev {
		return flow.Principal{}, unauthorized("auth.missing", "the request has no key; send one of this installation as: Authorization: Bearer KEY")
	}
	return flow.Principal{Name: "dev", Role: flow.RoleAdmin}, nil
}

func (a *Auth) bearer(header []string) (flow.Principal, error) {
	scheme, token, ok := strings.Cut(header[0], " ")
	token = strings.TrimSpace(token)
	if len(header) != 1 || !ok || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return flow.Principal{}, unauthorized("auth.malformed", "the Authorization header cannot be read; send it once, as: Authorization: Bearer KEY")
	}
	if a.keys != nil {
		if p, ok := a.keys.Principal(token); ok {
			return p, nil
		}
	}
	if looksSigned(token) {
		return flow.Principal{}, unauthorized("auth.token_type",
			"the Authorization header holds a signed or encrypted token, and this installation takes its own keys only; ask its operator for one")
	}
	return flow.Principal{}, unauthorized("auth.unknown_key",
		"the key in the Authorization header is not one of this installation; compare it with the one its operator gave, or ask for another")
}

// looksSigned recognises a JSON Web Token by its dots and its first letters, which
// are those of {" in base64. Nothing of it is decoded: a token that nobody here
// verifies is text like any other.
func looksSigned(token string) bool {
	dots := strings.Count(token, ".")
	return strings.HasPrefix(token, "eyJ") && (dots == 2 || dots == 4)
}

// preflight reports whether a browser asks if a page of another origin may call.
// Pages of this server need not ask.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
}

func unauthorized(code, text string) error { return fault.New(fault.Unauthorized, code, text, nil) }

// foreign reports whether a page of another origin made the browser ask. Opening
// a link from elsewhere is not asking: its page cannot read what comes, and a
// GET changes nothing.
func foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	opened := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return r.Method != http.MethodGet || !opened
}

type principalKey struct{}

// PrincipalFrom is who asks, in the context of a request that passed the gate;
// the zero Principal, which may nothing, in any other.
func PrincipalFrom(ctx context.Context) flow.Principal {
	p, _ := ctx.Value(principalKey{}).(flow.Principal)
	return p
}

func withPrincipal(r *http.Request, p flow.Principal) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
}
