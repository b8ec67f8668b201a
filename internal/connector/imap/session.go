package imap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"os"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"golang.org/x/text/encoding/htmlindex"

	"patchbay/internal/fault"
)

type (
	// session is one connection that is signed in, with one mailbox open for reading. One
	// goroutine uses it at a time.
	session struct {
		client   *imapclient.Client
		conn     net.Conn
		validity uint32
		next     goimap.UID // of the message that comes next, as of the opening
		idle     *imapclient.IdleCommand
		broken   bool // by an answer that was not understood; it is closed
	}

	// failure is where a session failed.
	failure struct {
		at  string // connect, tls, login, select, read
		err error
	}
)

func (f *failure) Error() string { return "imap " + f.at + ": " + f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// words decodes what headers say, in any charset of the web.
var words = &mime.WordDecoder{CharsetReader: charset}

func charset(name string, from io.Reader) (io.Reader, error) {
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil, fmt.Errorf("charset of a mail: %w", err)
	}
	return e.NewDecoder().Reader(from), nil
}

// dial signs in and opens a mailbox for reading; none where it has no name. stir is told
// when the server says that there are messages.
func (m *IMAP) dial(ctx context.Context, mailbox string, stir func()) (*session, error) {
	at, err := m.where()
	if err != nil {
		return nil, err
	}
	config, err := m.tls(at.host)
	if err != nil {
		return nil, err
	}
	user, err := m.deps.Value(m.config.Name, m.config.Auth.Username)
	if err != nil {
		return nil, err
	}
	password, err := m.deps.Value(m.config.Name, m.config.Auth.Password)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(at.host, at.port))
	if err != nil {
		return nil, &failure{"connect", err}
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	set := &imapclient.Options{TLSConfig: config, WordDecoder: words}
	if stir != nil {
		set.UnilateralDataHandler = &imapclient.UnilateralDataHandler{Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				stir()
			}
		}}
	}
	s := &session{conn: conn}
	switch {
	case at.implicit:
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, &failure{"tls", err}
		}
		s.client = imapclient.New(secure, set)
	case m.plain:
		s.client = imapclient.New(conn, set)
	default:
		if s.client, err = imapclient.NewStartTLS(conn, set); err != nil {
			_ = conn.Close()
			return nil, &failure{"tls", err}
		}
	}
	if err := s.open(user, password, mailbox); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) open(user, password, mailbox string) error {
	if err := s.client.WaitGreeting(); err != nil {
		return &failure{"connect", err}
	}
	if err := s.client.Login(user, password).Wait(); err != nil {
		return &failure{"login", err}
	}
	if mailbox == "" {
		return nil
	}
	data, err := s.client.Select(mailbox, &goimap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return &failure{"select", err}
	}
	s.validity, s.next = data.UIDValidity, data.UIDNext
	return nil
}

// close ends the session; what is under way in it fails.
func (s *session) close() {
	_ = s.client.Close() // nothing depends on how it ends
	if s.idle != nil {
		_ = s.idle.Close()
	}
}

// during ends what the session waits for when ctx ends; call the result after.
func (s *session) during(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { _ = s.conn.Close() })
}

// attend has the server say by itself what comes.
func (s *session) attend() error {
	if s.idle != nil || !s.client.Caps().Has(goimap.CapIdle) {
		return nil
	}
	idle, err := s.client.Idle()
	if err != nil {
		return &failure{"read", err}
	}
	s.idle = idle
	return nil
}

// ask ends that, so that something can be asked.
func (s *session) ask() error {
	if s.idle == nil {
		return nil
	}
	idle := s.idle
	s.idle = nil
	if err := errors.Join(idle.Close(), idle.Wait()); err != nil {
		return &failure{"read", err}
	}
	return nil
}

func (m *IMAP) tls(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	name := m.config.Options["root_certificate"]
	if name == "" {
		return config, nil
	}
	pem, err := os.ReadFile(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "connector.option", "connection "+m.config.Name+": the file of root_certificate cannot be read", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fault.Invalidf("connector.option", "connection %s: the file of root_certificate has no certificate", m.config.Name)
	}
	return config, nil
}

// fault classifies the failure of a session. outer is the caller's context.
func (m *IMAP) fault(outer, inner context.Context, err error) error {
	var known *fault.Fault
	if err == nil || errors.As(err, &known) {
		return err
	}
	name := m.config.Name
	var f *failure
	var said *goimap.Error
	if !errors.As(err, &f) || outer.Err() != nil || inner.Err() != nil {
		return m.gate.Broken(outer, inner, false, err)
	}
	if f.at == "tls" {
		return fault.New(fault.Unavailable, "imap.tls", "nothing is said to "+name+" in the clear, and TLS did not come about; check the url, its port and the certificate", err)
	}
	if errors.As(err, &said) {
		switch {
		case said.Code == "UNAVAILABLE" || said.Code == "INUSE" || said.Code == "LIMIT" || said.Code == "CONTACTADMIN":
			busy := fault.New(fault.Unavailable, "imap.unavailable", name+" is not available now", err)
			busy.After = 10 * time.Second
			return busy
		case f.at == "login":
			return fault.New(fault.Unauthorized, "imap.sign_in_refused", name+" did not accept the username and password of the connection", err)
		case f.at == "select":
			return fault.New(fault.Rejected, "imap.unknown_mailbox", name+" has no mailbox of this name, or does not open it to the user of the connection", err)
		}
		return fault.New(fault.Unavailable, "imap.refused", name+" refused a question that it should answer", err)
	}
	return m.gate.Broken(outer, inner, false, f.err)
}
