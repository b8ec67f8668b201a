package imap

import (
	"cmp"
	"context"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "imap"

const (
	defaultTimeout = 30 * time.Second
	defaultText    = 32 << 10
	defaultMessage = 25 << 20
)

// options are those of a connection.
var options = []string{"tls", "plain_host", "root_certificate", "max_text", "max_message"}

type (
	// IMAP is one connection to one account; safe for concurrent use. Reads open a session
	// of their own, a stream keeps one for each mailbox.
	IMAP struct {
		config     connector.Config
		deps       connector.Deps
		gate       *connector.Gate
		plain      bool // no TLS
		maxText    int64
		maxMessage int64
	}

	// server is where the server is, as the URL says.
	server struct {
		host, port string
		implicit   bool // TLS from the first byte
	}
)

var (
	_ connector.PageReader     = (*IMAP)(nil)
	_ connector.Tailer         = (*IMAP)(nil)
	_ connector.Chunker        = (*IMAP)(nil)
	_ connector.Identifier     = (*IMAP)(nil)
	_ connector.DocumentReader = (*IMAP)(nil)
	_ connector.Prober         = (*IMAP)(nil)
)

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*IMAP, error) {
	if c.URL == "" {
		return nil, fault.Invalidf("connector.url", "connection %s has no url", c.Name)
	}
	if c.Auth.Kind != "basic" {
		return nil, fault.Invalidf("connector.auth", "connection %s: a mailbox takes auth kind basic, with username and password", c.Name)
	}
	for name := range c.Options {
		if !slices.Contains(options, name) {
			return nil, fault.Invalidf("connector.option", "connection %s has no option %q; there are %s", c.Name, name, strings.Join(options, ", "))
		}
	}
	c.System = System
	c.Limits.Timeout = cmp.Or(max(c.Limits.Timeout, 0), defaultTimeout)
	m := &IMAP{config: c, deps: d, gate: connector.NewGate(c, d), maxText: defaultText, maxMessage: defaultMessage}
	for name, into := range map[string]*int64{"max_text": &m.maxText, "max_message": &m.maxMessage} {
		text := c.Options[name]
		if text == "" {
			continue
		}
		var err error
		if *into, err = strconv.ParseInt(text, 10, 64); err != nil || *into < 1 || *into > 1<<30 {
			return nil, fault.Invalidf("connector.option", "connection %s: option %s is a number of bytes from 1 to %d", c.Name, name, 1<<30)
		}
	}
	switch c.Options["tls"] {
	case "", "required":
		if c.Options["plain_host"] != "" {
			return nil, fault.Invalidf("connector.option", "connection %s: plain_host is for tls: none", c.Name)
		}
	case "none":
		m.plain = true
	default:
		return nil, fault.Invalidf("connector.option", "connection %s: option tls is required or none", c.Name)
	}
	return m, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Identify is the column by which messages are known.
func (m *IMAP) Identify(string) string { return idColumn }

// Probe signs in and reads nothing.
func (m *IMAP) Probe(ctx context.Context) error {
	return m.gate.Pass(ctx, "probe", func(inner context.Context) error {
		s, err := m.dial(inner, "", nil)
		if err != nil {
			return m.fault(ctx, inner, err)
		}
		s.close()
		return nil
	})
}

// where reads the URL; references are resolved anew each time (promise 9).
func (m *IMAP) where() (server, error) {
	text, err := m.deps.Value(m.config.Name, m.config.URL)
	if err != nil {
		return server{}, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "imap" && u.Scheme != "imaps" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return server{}, fault.Invalidf("connector.url", "connection %s: url is not of the form imaps://HOST:993 or imap://HOST:143", m.config.Name)
	}
	at := server{host: u.Hostname(), port: u.Port(), implicit: u.Scheme == "imaps"}
	if at.port == "" {
		at.port = map[bool]string{true: "993", false: "143"}[at.implicit]
	}
	if m.plain && (at.implicit || !loopback(at.host) && at.host != m.config.Options["plain_host"]) {
		return server{}, fault.Invalidf("connector.option", "connection %s: tls: none is for imap:// on this machine, or on the host that plain_host names; remove it", m.config.Name)
	}
	return at, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// mailbox is what the server calls a table.
func (m *IMAP) mailbox(table string) (string, error) {
	t, err := m.config.Table(table)
	if err != nil {
		return "", err
	}
	return t.Path, nil
}
