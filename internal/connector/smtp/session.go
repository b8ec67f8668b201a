package smtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"patchbay/internal/fault"
)

type (
	// session is one connection to the server that is signed in. One goroutine uses
	// it at a time.
	session struct {
		client *gosmtp.Client
		conn   net.Conn
		mails  int
		since  time.Time // it has been idle
	}

	// failure is where a session failed. Sent says that the final dot may have
	// reached the server and no answer came back.
	failure struct {
		at   state
		sent bool
		err  error
	}

	// state of the protocol.
	state string

	// commit is Gate.Commit.
	commit func(held func() error, apply func() (sent bool, err error)) (sent bool, err error)
)

const (
	atConnect  state = "connect"
	atHello    state = "ehlo"
	atStartTLS state = "starttls"
	atAuth     state = "auth"
	atMail     state = "mail"
	atRcpt     state = "rcpt"
	atData     state = "data"
	atBody     state = "body"
	atDot      state = "dot"
)

func (f *failure) Error() string { return "smtp " + string(f.at) + ": " + f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// code is what the server answered, 0 when it did not.
func (f *failure) code() int {
	var said *textproto.Error
	if errors.As(f.err, &said) {
		return said.Code
	}
	return 0
}

var errNoTLS = errors.New("the server offers no STARTTLS")

// guard ends whatever waits on the connection when ctx ends; call the result after.
func (x *session) guard(ctx context.Context) func() {
	_ = x.conn.SetDeadline(time.Time{}) // the context ends it, so that what failed is plain
	stop := context.AfterFunc(ctx, func() { _ = x.conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// dial opens a session and signs in. What the server says in words is in the error.
func (s *SMTP) dial(ctx context.Context) (*session, error) {
	at, err := s.where()
	if err != nil {
		return nil, err
	}
	config, err := s.tls(at.host)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(at.host, at.port))
	if err != nil {
		return nil, &failure{at: atConnect, err: err}
	}
	x := &session{conn: conn}
	defer x.guard(ctx)()
	if at.implicit {
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &failure{at: atStartTLS, err: err}
		}
		conn = secure
	}
	if x.client, err = gosmtp.NewClient(conn, at.host); err != nil {
		conn.Close()
		return nil, &failure{at: atConnect, err: err}
	}
	x.client.SkipSMTPUTF8(true) // every address is ASCII
	if err := s.greet(x, at, config); err != nil {
		x.end()
		return nil, err
	}
	return x, nil
}

func (s *SMTP) greet(x *session, at server, config *tls.Config) error {
	refused := &noted{}
	x.client.ErrorHandlerRegistry.RegisterHandler(at.host, "ehlo", refused)
	if err := x.client.Hello(s.sender.domain); err != nil || refused.err != nil {
		return &failure{at: atHello, err: cmp.Or(refused.err, err)}
	}
	if !at.implicit && !s.plain {
		if offered, _ := x.client.Extension("STARTTLS"); !offered {
			return &failure{at: atStartTLS, err: errNoTLS}
		}
		if err := x.client.StartTLS(config); err != nil {
			return &failure{at: atStartTLS, err: err}
		}
	}
	if s.config.Auth.Kind != "basic" {
		return nil
	}
	user, err := s.deps.Value(s.config.Name, s.config.Auth.Username)
	if err != nil {
		return err
	}
	password, err := s.deps.Value(s.config.Name, s.config.Auth.Password)
	if err != nil {
		return err
	}
	_, offered := x.client.Extension("AUTH")
	how := gosmtp.PlainAuth("", user, password, at.host, false)
	if kinds := strings.Fields(offered); !contains(kinds, "PLAIN") && contains(kinds, "LOGIN") {
		how = gosmtp.LoginAuth(user, password, at.host, false)
	}
	if err := x.client.Auth(how); err != nil {
		return &failure{at: atAuth, err: err}
	}
	return nil
}

// noted keeps why EHLO failed. The client would say HELO then, and hear of no
// extension: a server that is only busy would seem to be one without TLS.
type noted struct{ err error }

// HandleError implements gosmtp.ResponseErrorHandler.
func (n *noted) HandleError(_, _ string, _ *textproto.Conn, err error) error {
	n.err = err
	return err
}

func contains(list []string, word string) bool {
	for _, one := range list {
		if strings.EqualFold(one, word) {
			return true
		}
	}
	return false
}

func (s *SMTP) tls(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	file := s.config.Options["root_certificate"]
	if file == "" {
		return config, nil
	}
	pem, err := os.ReadFile(file)
	config.RootCAs = x509.NewCertPool()
	if err != nil || !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fault.Invalidf("connector.option", "connection %s: root_certificate is no file with certificates in PEM form", s.config.Name)
	}
	return config, nil
}

// begin starts a transaction.
func (x *session) begin(ctx context.Context, from string) error {
	defer x.guard(ctx)()
	if err := x.client.Mail("<" + from + ">"); err != nil {
		return &failure{at: atMail, err: err}
	}
	return nil
}

// deliver sends the mail of a transaction that has begun. commit carries the final
// dot: before it the server keeps nothing, whatever happens.
func (x *session) deliver(ctx context.Context, m mail, held func() error, commit commit) error {
	defer x.guard(ctx)()
	if _, most := x.client.Extension("SIZE"); most != "" {
		if n, err := strconv.ParseInt(most, 10, 64); err == nil && n > 0 && int64(len(m.body)) > n {
			return &failure{at: atMail, err: &textproto.Error{Code: 552, Msg: "larger than SIZE"}}
		}
	}
	if err := x.client.Rcpt("<" + m.to + ">"); err != nil {
		return &failure{at: atRcpt, err: err}
	}
	body, err := x.client.Data()
	if err != nil {
		return &failure{at: atData, err: err}
	}
	if _, err := body.Write(m.body); err != nil {
		return &failure{at: atBody, err: err}
	}
	// The dot must not wait in a buffer with the end of the body: so a failure up to
	// here is known to be one before it.
	if err := x.client.Text.W.Flush(); err != nil {
		return &failure{at: atBody, err: err}
	}
	sent, err := commit(held, func() (bool, error) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		err := body.Close()
		var said *textproto.Error
		if errors.As(err, &said) {
			if said.Code >= 200 && said.Code < 300 {
				return true, nil
			}
			return said.Code < 400, err
		}
		return err != nil, err
	})
	if err != nil {
		return &failure{at: atDot, sent: sent, err: err}
	}
	return nil
}

// reset makes a session in which a mail was refused ready for the next one. It
// fails where the session cannot go on.
func (x *session) reset(ctx context.Context, why error) error {
	var f *failure
	if !errors.As(why, &f) || f.code() == 0 || f.code() == 421 || f.sent || f.at == atBody {
		return why
	}
	if f.at == atDot {
		return nil // the transaction is over
	}
	defer x.guard(ctx)()
	return x.client.Reset()
}

// end breaks the connection off: what the server has of a transaction is void.
func (x *session) end() { x.conn.Close() }

// quit ends the session in good order, or at all.
func (x *session) quit() {
	_ = x.conn.SetDeadline(time.Now().Add(time.Second))
	_ = x.client.Quit()
	x.conn.Close()
}
