// Package login is the sandbox's identity provider: it answers the token
// endpoints of Entra ID (v2.0 and v1 forms) and of Oracle's identity domain for
// client credentials, and tells the stand-in systems who a caller is.
//
// The exchange asks it for every call; the systems decide what the user may do.
// A token is a signed JWT that names its client and its end, so it outlives a
// restart of the sandbox and needs no table. Whether it is good for a system is
// decided by signature and time; the audience is carried and not compared,
// because a sandbox answers under many host names.
//
// It imports the standard library and ordered.
package login

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"patchbay/internal/sandbox/ordered"
)

type (
	// User is one known application: the client of the token endpoint, and the
	// same name and secret for Basic.
	User struct {
		ClientID string
		Secret   string
		Name     string
		ID       string // of the user in the systems
		// Member is a user of the Dataverse organisation; Roles has data access in
		// Oracle.
		Member, Roles bool
		// Home is the one regional organisation that knows the user; it is a user of
		// no other system then. Empty: of all others.
		Home string
	}

	// Authority issues and checks tokens.
	Authority struct {
		key   []byte
		speed float64
		now   func() time.Time

		mu    sync.Mutex
		known map[string]grant // tokens seen, so that a busy client's is checked once
	}

	grant struct {
		user    *User
		expires time.Time
	}

	claims struct {
		Audience string `json:"aud"`
		Issuer   string `json:"iss"`
		AppID    string `json:"appid"`
		Object   string `json:"oid"`
		Tenant   string `json:"tid"`
		IssuedAt int64  `json:"iat"`
		NotBefor int64  `json:"nbf"`
		Expires  int64  `json:"exp"`
		Version  string `json:"ver"`
	}
)

// Lifetime of a token at speed 1.
const Lifetime = 3599 * time.Second

// ErrUnauthorized is a credential that is missing, unknown, wrong or expired.
var ErrUnauthorized = errors.New("the credential is not accepted")

// Users are the applications the sandbox knows.
var Users = []*User{
	{ClientID: "patchbay", Secret: "sandbox-secret", Name: "Patchbay", ID: "40260000-0000-4000-8000-000000000001", Member: true, Roles: true},
	{ClientID: "second", Secret: "sandbox-secret", Name: "Second application", ID: "40260000-0000-4000-8000-000000000002", Member: true, Roles: true},
	{ClientID: "service-desk", Secret: "sandbox-secret", Name: "Service desk", ID: "40260000-0000-4000-8000-000000000003", Member: true, Roles: true},
	{ClientID: "stranger", Secret: "sandbox-secret", Name: "Not a member", ID: "40260000-0000-4000-8000-000000000004"},
}

// Regional are the two applications of a regional organisation: who synchronizes, and
// who works there. Both have the region's own secret, which is nobody else's:
// sandbox-secret-de of dataverse-de.
func Regional(organization string) []*User {
	var list []*User
	for _, u := range regional {
		if u.Home == organization {
			list = append(list, u)
		}
	}
	return list
}

// Regions are the regional organisations, and the regions they are for.
var Regions = []struct{ Organization, Region string }{{"dataverse-de", "de"}, {"dataverse-fr", "fr"}, {"dataverse-ch", "ch"}}

var regional = func() []*User {
	var list []*User
	for i, of := range Regions {
		for j, role := range []struct{ id, name string }{{"patchbay", "Patchbay"}, {"service-desk", "Service desk"}} {
			list = append(list, &User{ClientID: role.id + "-" + of.Region, Secret: "sandbox-secret-" + of.Region, Name: role.name, Home: of.Organization, Member: true,
				ID: fmt.Sprintf("4026000%d-0000-4000-8000-00000000000%d", i+1, j+1)})
		}
	}
	return list
}()

// New returns an authority whose tokens live Lifetime divided by speed.
func New(seed uint64, speed float64) *Authority {
	key := sha256.Sum256(fmt.Appendf(nil, "sandbox token key %d", seed))
	return &Authority{key: key[:], speed: speed, now: time.Now, known: map[string]grant{}}
}

func find(id string) *User {
	for _, u := range slices.Concat(Users, regional) {
		if strings.EqualFold(u.ClientID, id) {
			return u
		}
	}
	return nil
}

func secretFits(u *User, secret string) bool {
	return subtle.ConstantTimeCompare([]byte(u.Secret), []byte(secret)) == 1
}

// Check reads an Authorization header. Basic is accepted only where the system
// documents it. The users of a regional organisation are nobody here.
func (a *Authority) Check(header string, basic bool) (*User, error) {
	u, err := a.read(header, basic)
	if err == nil && u.Home != "" {
		return nil, ErrUnauthorized
	}
	return u, err
}

// CheckAt reads the Authorization header of a call to a regional organisation: a token
// of a user who is none of its own is not accepted.
func (a *Authority) CheckAt(header, organization string) (*User, error) {
	u, err := a.read(header, false)
	if err == nil && u.Home != organization {
		return nil, ErrUnauthorized
	}
	return u, err
}

func (a *Authority) read(header string, basic bool) (*User, error) {
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return a.verify(strings.TrimSpace(rest))
	case basic && strings.EqualFold(scheme, "Basic"):
		name, secret, ok := decodeBasic(rest)
		u := find(name)
		if !ok || u == nil || !secretFits(u, secret) {
			return nil, ErrUnauthorized
		}
		return u, nil
	default:
		return nil, ErrUnauthorized
	}
}

func decodeBasic(s string) (name, secret string, ok bool) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(raw), ":")
}

// issue makes a token for u; the time it lives is in whole seconds.
func (a *Authority) issue(u *User, tenant, audience, issuer, version string) (token string, seconds int64) {
	now := a.now()
	seconds = max(1, int64(Lifetime.Seconds()/a.speed))
	body, _ := json.Marshal(claims{Audience: audience, Issuer: issuer, AppID: u.ClientID, Object: u.ID, Tenant: tenant,
		IssuedAt: now.Unix(), NotBefor: now.Unix(), Expires: now.Unix() + seconds, Version: version}) // strings and numbers only
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256","kid":"sandbox"}`))
	signed := head + "." + base64.RawURLEncoding.EncodeToString(body)
	return signed + "." + base64.RawURLEncoding.EncodeToString(a.sign(signed)), seconds
}

func (a *Authority) sign(s string) []byte {
	mac := hmac.New(sha256.New, a.key)
	mac.Write([]byte(s))
	return mac.Sum(nil)
}

func (a *Authority) verify(token string) (*User, error) {
	a.mu.Lock()
	g, ok := a.known[token]
	a.mu.Unlock()
	if !ok {
		var err error
		if g, err = a.parse(token); err != nil {
			return nil, err
		}
		a.mu.Lock()
		if len(a.known) > 10_000 {
			clear(a.known)
		}
		a.known[token] = g
		a.mu.Unlock()
	}
	if !a.now().Before(g.expires) {
		return nil, ErrUnauthorized
	}
	return g.user, nil
}

func (a *Authority) parse(token string) (grant, error) {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 {
		return grant{}, ErrUnauthorized
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil || !hmac.Equal(signature, a.sign(token[:dot])) {
		return grant{}, ErrUnauthorized
	}
	_, body, _ := strings.Cut(token[:dot], ".")
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return grant{}, ErrUnauthorized
	}
	var c claims
	if err := json.Unmarshal(raw, &c); err != nil {
		return grant{}, ErrUnauthorized
	}
	u := find(c.AppID)
	if u == nil {
		return grant{}, ErrUnauthorized
	}
	return grant{user: u, expires: time.Unix(c.Expires, 0)}, nil
}

// Reply is an answer of the token endpoint.
type Reply struct {
	Status int
	Body   *ordered.Object
	Header http.Header
}
