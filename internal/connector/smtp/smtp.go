package smtp

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

// System is the connector's name in connections.yaml.
const System = "smtp"

const (
	tableName      = "message"
	defaultTimeout = 30 * time.Second
	idleFor        = 10 * time.Second // how long a session is kept that nobody uses
	maxMails       = 100              // of one session
)

type (
	// SMTP is one connection to one mail server; safe for concurrent use. It dials
	// when there is something to send, and keeps a session for the mails that follow.
	SMTP struct {
		config  connector.Config
		deps    connector.Deps
		gate    *connector.Gate
		sender  sender
		plain   bool // no TLS; of loopback only
		timeout time.Duration

		mu   sync.Mutex
		idle []*session
	}

	// server is where the mail server is, as the URL says.
	server struct {
		host, port string
		implicit   bool // TLS from the first byte
	}
)

var (
	_ connector.Upserter = (*SMTP)(nil)
	_ connector.Prober   = (*SMTP)(nil)
)

// options are those of a connection.
var options = []string{"from", "from_name", "reply_to", "domain", "tls", "plain_host", "root_certificate"}

// New makes the connector of one connection.
func New(c connector.Config, d connector.Deps) (*SMTP, error) {
	if c.URL == "" {
		return nil, fault.Invalidf("connector.url", "connection %s has no url", c.Name)
	}
	if !slices.Contains([]string{"", "none", "basic"}, c.Auth.Kind) {
		return nil, fault.Invalidf("connector.auth", "connection %s: a mail server takes auth kind basic, with username and password, or none", c.Name)
	}
	for name := range c.Options {
		if !slices.Contains(options, name) {
			return nil, fault.Invalidf("connector.option", "connection %s has no option %q; there are %s", c.Name, name, strings.Join(options, ", "))
		}
	}
	from, err := newSender(c)
	if err != nil {
		return nil, err
	}
	c.System = System
	s := &SMTP{config: c, deps: d, gate: connector.NewGate(c, d), sender: from, timeout: cmp.Or(max(c.Limits.Timeout, 0), defaultTimeout)}
	switch c.Options["tls"] {
	case "", "required":
		if c.Options["plain_host"] != "" {
			return nil, fault.Invalidf("connector.option", "connection %s: plain_host is for tls: none", c.Name)
		}
	case "none":
		s.plain = true
	default:
		return nil, fault.Invalidf("connector.option", "connection %s: option tls is required or none", c.Name)
	}
	return s, nil
}

// Build is New as the registry wants it.
func Build(c connector.Config, d connector.Deps) (any, error) { return New(c, d) }

// Probe signs in and sends nothing.
func (s *SMTP) Probe(ctx context.Context) error {
	return s.gate.Pass(ctx, "probe", func(inner context.Context) error {
		x, err := s.dial(inner)
		if err != nil {
			return s.fault(ctx, inner, err)
		}
		x.quit()
		return nil
	})
}

// Close ends the sessions that nobody uses. The connector goes on working.
func (s *SMTP) Close() {
	s.mu.Lock()
	unused := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, x := range unused {
		x.quit()
	}
}

// Upsert sends each row as one mail, in order. When one fails for a reason that
// concerns the server and not that mail, those behind it are not sent.
func (s *SMTP) Upsert(ctx context.Context, in connector.Upsert) ([]connector.Result, error) {
	t, err := s.config.Table(in.Table)
	if err != nil {
		return nil, err
	}
	if t.Name != tableName || !slices.Equal(in.Key, []string{"id"}) {
		return nil, fault.Invalidf("connector.key", "connection %s: a mail server takes rows of the table %s with the key id", s.config.Name, tableName)
	}
	results := make([]connector.Result, len(in.Rows))
	var whole error
	for i, row := range in.Rows {
		if whole != nil {
			results[i].Err = s.notSent(whole)
			continue
		}
		var m mail
		if m, err = s.sender.mail(row, s.now()); err == nil {
			err = s.send(ctx, m, in.Held)
		}
		results[i].Err = err
		if err != nil && !aboutMail(err) {
			whole = err
			if i == 0 && !fault.Is(err, fault.InDoubt) {
				return nil, err
			}
			if known := new(fault.Fault); !errors.As(err, &known) { // the caller gave up
				results[i].Err = s.notSent(err)
			}
		}
	}
	return results, nil
}

func (s *SMTP) now() time.Time {
	if s.deps.Now != nil {
		return s.deps.Now()
	}
	return time.Now()
}

// notSent is the result of mails behind one that failed.
func (s *SMTP) notSent(reason error) error {
	f := fault.New(fault.Unavailable, System+".not_sent", "the mail was not sent to "+s.config.Name+", because one before it failed or the time was over", nil)
	f.After = fault.Of(reason).After
	return f
}

// send is one transaction, on a session that is open or a new one.
func (s *SMTP) send(ctx context.Context, m mail, held func() error) error {
	return s.gate.Send(ctx, "send "+m.id, 1, func(inner context.Context) error {
		for x := s.kept(); x != nil; x = s.kept() {
			// A server may have ended a session that was kept: then the first command says
			// so, and nothing of the mail has been sent.
			if x.begin(inner, s.sender.from) == nil {
				return s.finish(ctx, inner, x, m, held)
			}
			x.end()
		}
		x, err := s.dial(inner)
		if err != nil {
			return s.fault(ctx, inner, err)
		}
		if err := x.begin(inner, s.sender.from); err != nil {
			x.end()
			return s.fault(ctx, inner, err)
		}
		return s.finish(ctx, inner, x, m, held)
	})
}

// finish sends a mail whose sender the server has taken.
func (s *SMTP) finish(ctx, inner context.Context, x *session, m mail, held func() error) error {
	err := x.deliver(inner, m, held, s.gate.Commit)
	switch {
	case err == nil, x.reset(inner, err) == nil:
		s.keep(x)
	default:
		x.end()
	}
	return s.fault(ctx, inner, err)
}

// kept gives an open session that nobody uses, or nil.
func (s *SMTP) kept() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.idle); n > 0; n = len(s.idle) {
		x := s.idle[n-1]
		s.idle = s.idle[:n-1]
		if time.Since(x.since) < idleFor {
			return x
		}
		go x.quit()
	}
	return nil
}

func (s *SMTP) keep(x *session) {
	if x.mails++; x.mails >= maxMails {
		x.quit()
		return
	}
	x.since = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, x)
}

// where reads the URL; references are resolved anew each time (promise 9).
func (s *SMTP) where() (server, error) {
	text, err := s.deps.Value(s.config.Name, s.config.URL)
	if err != nil {
		return server{}, err
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return server{}, fault.Invalidf("connector.url", "connection %s: url is not of the form smtp://HOST:587 or smtps://HOST:465", s.config.Name)
	}
	at := server{host: u.Hostname(), port: u.Port(), implicit: u.Scheme == "smtps"}
	if at.port == "" {
		at.port = map[bool]string{true: "465", false: "587"}[at.implicit]
	}
	if s.plain && (at.implicit || !loopback(at.host) && at.host != s.config.Options["plain_host"]) {
		return server{}, fault.Invalidf("connector.option", "connection %s: tls: none is for smtp:// on this machine, or on the host that plain_host names; remove it", s.config.Name)
	}
	return at, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
