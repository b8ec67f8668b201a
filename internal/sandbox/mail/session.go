package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/record"
)

// The bounds of a session.
const (
	maxLine       = 1_000    // RFC 5321, 4.5.3.1.6
	maxSource     = 10 << 20 // announced by SIZE
	maxRecipients = 100
	patience      = 5 * time.Minute // RFC 5321, 4.5.3.2.7
)

// The client that may sign in; one need not.
const (
	user     = "patchbay"
	password = "sandbox-secret"
)

type (
	// session is one connection. It ends with the error that ended it.
	session struct {
		drop   *Drop
		conn   net.Conn
		in     *bufio.Reader
		secure bool
		hello  bool

		begun bool // a transaction
		from  string
		to    []string
	}

	command func(s *session, ctx context.Context, argument string) error
)

// errEnd ends a session.
var errEnd = errors.New("the session is over")

func newSession(d *Drop, conn net.Conn) *session {
	return &session{drop: d, conn: conn, in: bufio.NewReaderSize(conn, maxLine+2)}
}

// commands by verb, with the state at which a fault may strike before it; HELO and
// EHLO are one.
var commands = map[string]struct {
	state string
	run   command
}{
	"HELO": {"ehlo", (*session).helo}, "EHLO": {"ehlo", (*session).ehlo}, "STARTTLS": {"starttls", (*session).starttls},
	"AUTH": {"auth", (*session).auth}, "MAIL": {"mail", (*session).mail}, "RCPT": {"rcpt", (*session).rcpt}, "DATA": {"data", (*session).data},
	"RSET": {"", (*session).rset}, "NOOP": {"", (*session).noop}, "VRFY": {"", (*session).vrfy}, "QUIT": {"quit", (*session).quit},
}

func (s *session) run(ctx context.Context) {
	defer func() { s.conn.Close() }()
	if struck, err := s.strike(ctx, "connect", ""); err != nil || struck {
		return
	}
	if s.say("220 sandbox ESMTP Patchbay") != nil {
		return
	}
	for {
		line, err := s.line()
		if err != nil {
			return
		}
		if s.obey(ctx, line) != nil {
			return
		}
	}
}

func (s *session) obey(ctx context.Context, line string) error {
	verb, argument, _ := strings.Cut(line, " ")
	verb = strings.ToUpper(verb)
	c, known := commands[verb]
	if !known {
		return s.say("500 5.5.1 no such command")
	}
	s.drop.Count(verb)
	if c.state != "" && c.state != "data" {
		if struck, err := s.strike(ctx, c.state, line); err != nil || struck {
			return err
		}
	}
	if !s.hello && c.state != "ehlo" && verb != "NOOP" && verb != "QUIT" {
		return s.say("503 5.5.1 say EHLO first")
	}
	return c.run(s, ctx, strings.TrimSpace(argument))
}

// strike does what a fault at the state says; struck means that it has answered.
func (s *session) strike(ctx context.Context, state, text string) (struck bool, err error) {
	r := s.drop.Faults.next(state, text)
	if r == nil {
		return false, nil
	}
	if r.LatencyMS > 0 {
		timer := time.NewTimer(time.Duration(r.LatencyMS) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
	switch {
	case r.Cut:
		s.record(ctx, state, 0, "drop")
		return true, errEnd
	case r.Status != 0:
		s.record(ctx, state, r.Status, "status")
		if err := s.say(fmt.Sprintf("%d %d.0.0 asked for by a fault", r.Status, r.Status/100)); err != nil {
			return true, err
		}
		if state == "connect" || r.Status == 421 {
			return true, errEnd
		}
		return true, nil
	}
	return false, nil
}

// record notes what a state came to, where that was no success.
func (s *session) record(ctx context.Context, state string, status int, fault string) {
	s.drop.noted(context.WithoutCancel(ctx), s.entry(state, status, fault, nil))
}

func (s *session) entry(state string, status int, fault string, body []byte) record.Entry {
	return record.Entry{System: System, At: time.Now().UTC().Truncate(time.Microsecond), Method: "SMTP", Path: "/" + state, Status: status, Fault: fault,
		BodySHA256: record.Digest(body)}
}

func (s *session) say(line string) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	_, err := io.WriteString(s.conn, line+"\r\n")
	return err
}

// line reads one command.
func (s *session) line() (string, error) {
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	line, err := s.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		_ = s.say("500 5.5.2 the line is too long")
		return "", errEnd
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func (s *session) helo(_ context.Context, _ string) error {
	s.hello = true
	s.forget()
	return s.say("250 sandbox")
}

func (s *session) ehlo(_ context.Context, who string) error {
	if who == "" {
		return s.say("501 5.5.4 EHLO takes the name of the client")
	}
	s.hello = true
	s.forget()
	lines := []string{"250-sandbox", "250-SIZE " + strconv.Itoa(maxSource), "250-8BITMIME", "250-SMTPUTF8", "250-ENHANCEDSTATUSCODES"}
	if !s.secure {
		lines = append(lines, "250-STARTTLS")
	}
	return s.say(strings.Join(append(lines, "250 AUTH PLAIN LOGIN"), "\r\n"))
}

func (s *session) starttls(ctx context.Context, _ string) error {
	if s.secure {
		return s.say("503 5.5.1 it is on already")
	}
	if err := s.say("220 2.0.0 go ahead"); err != nil {
		return err
	}
	conn := tls.Server(s.conn, s.drop.tls)
	_ = s.conn.SetDeadline(time.Now().Add(time.Minute))
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	// What came in the clear before is forgotten (RFC 3207, 4.2), the buffer with it.
	*s = session{drop: s.drop, conn: conn, in: bufio.NewReaderSize(conn, maxLine+2), secure: true}
	return nil
}

func (s *session) auth(_ context.Context, argument string) error {
	kind, first, _ := strings.Cut(argument, " ")
	var given []string
	switch strings.ToUpper(kind) {
	case "PLAIN":
		text, ok, err := s.ask(first, "")
		if !ok {
			return err
		}
		given = strings.Split(text, "\x00")
		if len(given) == 3 {
			given = given[1:]
		}
	case "LOGIN":
		for _, prompt := range []string{"VXNlcm5hbWU6", "UGFzc3dvcmQ6"} {
			text, ok, err := s.ask(first, prompt)
			if !ok {
				return err
			}
			given, first = append(given, text), ""
		}
	default:
		return s.say("504 5.5.4 there are PLAIN and LOGIN")
	}
	if len(given) != 2 || given[0] != user || given[1] != password {
		return s.say("535 5.7.8 name or password is wrong")
	}
	return s.say("235 2.7.0 welcome")
}

// ask gives what the client says in base64: at once, or asked by a prompt. Not ok is
// answered already.
func (s *session) ask(given, prompt string) (said string, ok bool, err error) {
	if given == "" {
		if err := s.say("334 " + prompt); err != nil {
			return "", false, err
		}
		if given, err = s.line(); err != nil {
			return "", false, err
		}
	}
	text, err := base64.StdEncoding.DecodeString(given)
	if err != nil {
		return "", false, s.say("501 5.5.2 that is no base64")
	}
	return string(text), true, nil
}

func (s *session) forget() { s.begun, s.from, s.to = false, "", nil }

// path reads the address of MAIL or RCPT and its parameters.
func path(argument, word string) (address string, params []string, ok bool) {
	if len(argument) < len(word) || !strings.EqualFold(argument[:len(word)], word) {
		return "", nil, false
	}
	rest, found := strings.CutPrefix(strings.TrimSpace(argument[len(word):]), "<")
	address, after, closed := strings.Cut(rest, ">")
	if !found || !closed || after != "" && after[0] != ' ' {
		return "", nil, false
	}
	if address != "" {
		parsed, err := netmail.ParseAddress("<" + address + ">")
		if err != nil || parsed.Address != address {
			return "", nil, false
		}
	}
	return address, strings.Fields(after), true
}

func (s *session) mail(_ context.Context, argument string) error {
	from, params, ok := path(argument, "FROM:")
	switch {
	case s.begun:
		return s.say("503 5.5.1 a transaction is under way")
	case !ok:
		return s.say("501 5.5.4 write MAIL FROM:<address>")
	}
	for _, p := range params {
		name, value, _ := strings.Cut(strings.ToUpper(p), "=")
		size, err := strconv.ParseInt(value, 10, 64)
		switch {
		case name == "SIZE" && err == nil && size > maxSource:
			return s.say("552 5.3.4 the mail is too large")
		case name == "SIZE" && err == nil, name == "BODY" && (value == "7BIT" || value == "8BITMIME"), name == "SMTPUTF8" && value == "":
		default:
			return s.say("555 5.5.4 no such parameter")
		}
	}
	s.begun, s.from = true, from
	return s.say("250 2.1.0 the sender is well")
}

func (s *session) rcpt(_ context.Context, argument string) error {
	to, params, ok := path(argument, "TO:")
	switch {
	case !s.begun:
		return s.say("503 5.5.1 say MAIL first")
	case !ok || to == "":
		return s.say("553 5.1.3 write RCPT TO:<address>")
	case len(params) > 0:
		return s.say("555 5.5.4 no such parameter")
	case len(s.to) >= maxRecipients:
		return s.say("452 4.5.3 too many recipients")
	}
	s.to = append(s.to, to)
	return s.say("250 2.1.5 the recipient is well")
}

// data takes the mail. The 250 is sent after the commit.
func (s *session) data(ctx context.Context, _ string) error {
	if len(s.to) == 0 {
		return s.say("503 5.5.1 say MAIL and RCPT first")
	}
	about := s.from + "\n" + joined(s.to)
	if struck, err := s.strike(ctx, "data", about); err != nil || struck {
		return err
	}
	if err := s.say("354 end with a dot on a line of its own"); err != nil {
		return err
	}
	if s.drop.Faults.next("body", about) != nil {
		_, _ = s.in.ReadByte()
		s.record(ctx, "body", 0, "drop")
		return errEnd
	}
	source, err := s.source()
	if err != nil {
		s.record(ctx, "body", 0, "lost")
		return err
	}
	defer s.forget()
	if source == nil {
		s.record(ctx, "dot", 552, "")
		return s.say("552 5.3.4 the mail is too large")
	}
	return s.take(ctx, source, about)
}

// take stores a mail that came whole, unless a fault or the limit is in the way.
func (s *session) take(ctx context.Context, source []byte, about string) error {
	r := s.drop.Faults.next("dot", about+"\n"+string(source))
	if r != nil && r.LatencyMS > 0 {
		timer := time.NewTimer(time.Duration(r.LatencyMS) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if r != nil && r.Status != 0 {
		s.record(ctx, "dot", r.Status, "status")
		if err := s.say(fmt.Sprintf("%d %d.0.0 asked for by a fault", r.Status, r.Status/100)); err != nil || r.Status == 421 {
			return errEnd
		}
		return nil
	}
	if !s.drop.limit.allow(time.Now()) {
		s.record(ctx, "dot", 451, "limit")
		return s.say("451 4.7.1 more mails than the limit of a minute; come again later")
	}
	m := read(source)
	m.At, m.From, m.To = time.Now().UTC().Truncate(time.Microsecond), s.from, s.to
	fault := ""
	if r != nil && r.Cut {
		fault = "drop"
	}
	e := s.entry("message", 250, fault, source)
	e.Query = clean(m.ID)
	// A mail that came whole is taken even when this process is about to end.
	if err := s.drop.keep(context.WithoutCancel(ctx), m, e); err != nil {
		s.drop.Log.Error("taking a mail", zap.Error(err))
		return s.say("451 4.3.0 the mail could not be stored")
	}
	s.drop.Count("message")
	if fault != "" {
		return errEnd
	}
	return s.say("250 2.0.0 stored")
}

// source reads up to the final dot; nil is a mail that is too large.
func (s *session) source() ([]byte, error) {
	out := bytes.Buffer{}
	large, start := false, true
	for {
		_ = s.conn.SetReadDeadline(time.Now().Add(patience))
		line, err := s.in.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull) // tolerated: it goes on as the next piece
		if err != nil && !long {
			return nil, err
		}
		if start {
			if bytes.Equal(line, []byte(".\r\n")) {
				break
			}
			line = bytes.TrimPrefix(line, []byte("."))
		}
		start = !long
		if large = large || out.Len()+len(line) > maxSource; !large {
			out.Write(line)
		}
	}
	if large {
		return nil, nil
	}
	return append([]byte{}, out.Bytes()...), nil
}

func (s *session) rset(_ context.Context, _ string) error {
	s.forget()
	return s.say("250 2.0.0 forgotten")
}

func (s *session) noop(_ context.Context, _ string) error { return s.say("250 2.0.0 well") }

func (s *session) vrfy(_ context.Context, _ string) error { return s.say("252 2.1.5 send and see") }

func (s *session) quit(_ context.Context, _ string) error {
	_ = s.say("221 2.0.0 goodbye")
	return errEnd
}
