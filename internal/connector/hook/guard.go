package hook

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// Tolerance is how far the time of a signed delivery may be from ours.
const Tolerance = 5 * time.Minute

// keyParameter carries the key of the scheme "key", as Azure Functions read it
// and Dataverse's WebhookKey sends it.
const keyParameter = "code"

// signatureHeader holds the signature of the scheme "hmac" where the hook names none.
const signatureHeader = "X-Signature"

type (
	// Guard proves the deliveries of one connection; safe for concurrent use.
	Guard struct {
		config connector.Config
		deps   connector.Deps
		prefix string // of an hmac signature, such as "sha256="
		base64 bool   // secrets of hmac are base64
		clock  string // header with the time that an hmac signature covers, too; empty: none
		from   []netip.Prefix
	}

	// Proof is what a delivery proved besides who sent it: the id and the time that
	// its signature covers, zero where the scheme has none.
	Proof struct {
		ID string
		At time.Time
	}
)

// New checks the hook of a connection. Options: signature_prefix (before an hmac
// signature), timestamp_header (whose value, a point and the body are signed),
// signature_key (raw, or base64 where secrets of hmac are written so).
func New(c connector.Config, d connector.Deps) (*Guard, error) {
	g := &Guard{config: c, deps: d, prefix: c.Options["signature_prefix"], clock: c.Options["timestamp_header"]}
	switch c.Options["signature_key"] {
	case "", "raw":
	case "base64":
		g.base64 = true
	default:
		return nil, fault.Invalidf("connector.hook", "connection %s: option signature_key is raw or base64", c.Name)
	}
	for _, text := range c.Hook.From {
		network, err := Network(text)
		if err != nil {
			return nil, fault.Invalidf("connector.hook", "connection %s: hook from: %q is no address and no network", c.Name, text)
		}
		g.from = append(g.from, network)
	}
	switch h := c.Hook; h.Scheme {
	case "", "none":
		return g, nil
	case "standard", "key", "client-state":
	case "hmac":
		if h.Name == "" {
			g.config.Hook.Name = signatureHeader
		}
	case "header", "query":
		if h.Name == "" {
			return nil, fault.Invalidf("connector.hook", "connection %s: hook scheme %s needs the name of the header or parameter", c.Name, h.Scheme)
		}
	default:
		return nil, fault.Invalidf("connector.hook", "connection %s: hook scheme %q is unknown; known are standard, hmac, key, header, query, client-state, none", c.Name, h.Scheme)
	}
	if len(c.Hook.Secrets) == 0 {
		return nil, fault.Invalidf("connector.hook", "connection %s: hook scheme %s needs a secret", c.Name, c.Hook.Scheme)
	}
	return g, nil
}

// Network reads an address or a network, such as 203.0.113.7 or 203.0.113.0/24.
func Network(text string) (netip.Prefix, error) {
	if at, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(at, at.BitLen()), nil
	}
	return netip.ParsePrefix(text)
}

// Prove checks that a delivery was sent by somebody who knows a secret, and from where
// it may come.
func (g *Guard) Prove(d connector.Delivery) (Proof, error) {
	if from := d.From.Unmap(); len(g.from) > 0 && !slices.ContainsFunc(g.from, func(n netip.Prefix) bool { return n.Contains(from) }) {
		return Proof{}, fault.New(fault.Rejected, "hook.source", "connection "+g.config.Name+" takes no deliveries from this address; add it to from of its hook if it is the sender's", nil)
	}
	switch g.config.Hook.Scheme {
	case "none", "client-state": // of the latter each part of the body shows its own
		return Proof{}, nil
	case "standard":
		return g.standard(d)
	case "hmac":
		return g.hmac(d)
	case "key":
		return Proof{}, g.shown(url.Values(d.Query).Get(keyParameter), "query parameter "+keyParameter)
	case "query":
		return Proof{}, g.shown(url.Values(d.Query).Get(g.config.Hook.Name), "query parameter "+g.config.Hook.Name)
	case "header":
		value := http.Header(d.Header).Get(g.config.Hook.Name)
		if scheme, token, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "bearer") {
			value = token
		}
		return Proof{}, g.shown(value, "header "+g.config.Hook.Name)
	}
	return Proof{}, fault.New(fault.Unauthorized, "hook.unsigned", "connection "+g.config.Name+" takes no deliveries: it says under hook of nobody how they are proved", nil)
}

// Shown proves the secret that a part of a delivery shows, of the scheme "client-state":
// Prove says nothing about it.
func (g *Guard) Shown(value string) error {
	if g.config.Hook.Scheme != "client-state" {
		return fault.New(fault.Unauthorized, "hook.unsigned", "connection "+g.config.Name+" takes no deliveries of this kind: its hook has another scheme", nil)
	}
	return g.shown(value, "clientState")
}

// shown proves a secret that stands in the delivery as it is.
func (g *Guard) shown(value, where string) error {
	if value == "" {
		return unsigned("the secret is due in the " + where)
	}
	return g.decide(func(secret string) (bool, error) { return same(value, secret), nil }, nil)
}

// same compares without telling by its time what differs, or how long secret is.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return b != "" && subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// decide asks match about every secret. hint, which may be nil, adds to the
// refusal.
func (g *Guard) decide(match func(secret string) (bool, error), hint func(secret string) string) error {
	found, err := g.any(g.config.Hook.Secrets, match)
	if found || err != nil {
		return err
	}
	if retired, err := g.any(g.config.Hook.Retired, match); retired || err != nil {
		if err != nil {
			return err
		}
		return fault.New(fault.Unauthorized, "hook.secret_retired", "the delivery is signed with a secret that is no longer accepted; use the one that took its place", nil)
	}
	text := "the signature or secret of the delivery is not of a secret of this hook"
	if hint != nil {
		for _, reference := range g.config.Hook.Secrets {
			if secret, err := g.secret(reference); err == nil {
				if more := hint(secret); more != "" {
					text += "; " + more
					break
				}
			}
		}
	}
	return fault.New(fault.Unauthorized, "hook.signature", text, nil)
}

// any reports whether one of the secrets matches, and asks about all of them.
func (g *Guard) any(references []string, match func(string) (bool, error)) (found bool, err error) {
	for _, reference := range references {
		secret, err := g.secret(reference)
		if err != nil {
			return false, err
		}
		ok, err := match(secret)
		if err != nil {
			return false, err
		}
		found = found || ok
	}
	return found, nil
}

// secret resolves a reference. That it cannot be is our fault and may pass, so
// that the sender is told to come again.
func (g *Guard) secret(reference string) (string, error) {
	secret, err := g.deps.Value(g.config.Name, reference)
	if err == nil && secret == "" {
		err = fault.Invalidf("connector.reference", "a secret of connection %s is empty", g.config.Name)
	}
	if err != nil {
		return "", fault.New(fault.Unavailable, "hook.secret", "a secret of the hook of connection "+g.config.Name+" has no value here", err)
	}
	return secret, nil
}

func unsigned(text string) error {
	return fault.New(fault.Unauthorized, "hook.unsigned", "the delivery is not signed: "+text, nil)
}

// Secret is the secret that a sender is to use: the first.
func (g *Guard) Secret() (string, error) { return g.secret(g.config.Hook.Secrets[0]) }

// Now is the time by the clock of the process.
func (g *Guard) Now() time.Time {
	if g.deps.Now != nil {
		return g.deps.Now()
	}
	return time.Now()
}
