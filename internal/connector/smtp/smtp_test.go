package smtp_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/connector"
	"patchbay/internal/connector/smtp"
	"patchbay/internal/fault"
)

// connect makes a connector of the server, by STARTTLS and with a password.
func connect(t *testing.T, s *server, change func(*connector.Config)) *smtp.SMTP {
	t.Helper()
	scheme := "smtp://"
	if s.implicit {
		scheme = "smtps://"
	}
	c := connector.Config{
		Name: "mail", System: "smtp", URL: scheme + s.address, Auth: connector.Auth{Kind: "basic", Username: "patchbay", Password: "s3cret"},
		Options: map[string]string{"from": "service@example.com", "from_name": "Kundendienst Müller", "domain": "mail.example.com", "root_certificate": s.root},
		Tables:  map[string]connector.Table{"message": {Name: "message", Path: "message", Keys: [][]string{{"id"}}}},
		Limits:  connector.Limits{Timeout: 5 * time.Second}, Speed: 1000,
	}
	if change != nil {
		change(&c)
	}
	m, err := smtp.New(c, connector.Deps{})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

func row(id string, change ...string) connector.Row {
	r := connector.Row{"id": id, "recipient": "ann@example.com", "subject": "Fall geändert", "text": "Guten Tag\n.\nEnde", "html": "<p>Größe</p>"}
	for i := 0; i < len(change); i += 2 {
		r[change[i]] = change[i+1]
	}
	return r
}

func send(ctx context.Context, m *smtp.SMTP, rows ...connector.Row) ([]connector.Result, error) {
	return m.Upsert(ctx, connector.Upsert{Table: "message", Key: []string{"id"}, Rows: rows})
}

// sendOne gives the fault of one mail, nil when it was sent.
func sendOne(t *testing.T, m *smtp.SMTP, r connector.Row) *fault.Fault {
	t.Helper()
	results, err := send(t.Context(), m, r)
	if err != nil {
		return fault.Of(err)
	}
	require.Len(t, results, 1)
	return fault.Of(results[0].Err)
}

func TestAMailArrivesAsItWasWritten(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, nil)
	require.Nil(t, sendOne(t, m, row("abc123")))
	require.Len(t, s.mails(), 1)
	got, err := mail.ReadMessage(strings.NewReader(s.mails()[0]))
	require.NoError(t, err)
	header := func(name string) string {
		text, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get(name))
		require.NoError(t, err)
		return text
	}
	require.Equal(t, "Fall geändert", header("Subject"))
	require.Equal(t, "<abc123@mail.example.com>", header("Message-ID"))
	require.Equal(t, "<ann@example.com>", header("To"))
	require.Contains(t, header("From"), "Kundendienst Müller")
	require.Contains(t, header("From"), "<service@example.com>")
	require.Equal(t, "auto-generated", header("Auto-Submitted"))
	_, err = got.Header.Date()
	require.NoError(t, err)
	for name := range maps.Keys(got.Header) {
		require.Contains(t, []string{"Subject", "Message-Id", "To", "From", "Auto-Submitted", "Date", "Mime-Version", "Content-Type"}, name, "nothing else is told")
	}
	kind, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(got.Body, params["boundary"])
	for _, want := range []string{"Guten Tag\r\n.\r\nEnde", "<p>Größe</p>"} {
		part, err := parts.NextRawPart()
		require.NoError(t, err)
		require.Equal(t, "quoted-printable", part.Header.Get("Content-Transfer-Encoding"))
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimRight(string(text), "\r\n"))
	}
	require.Equal(t, 1, s.count("STARTTLS"), "no mail without TLS")
	require.Equal(t, 1, s.count("AUTH PLAIN"))
}

// Whatever happens at whatever state: what is said not to be sent is not with the
// server, and what is with it is confirmed or in doubt.
func TestEachFailureSaysWhetherTheMailWasSent(t *testing.T) {
	t.Parallel()
	const name = "email."
	for _, c := range []struct {
		state, answer string
		class         fault.Class
		code          string
	}{
		{"connect", cut, fault.Unavailable, "vendor.unreachable"},
		{"connect", "421 busy", fault.Throttled, "smtp.throttled"},
		{"connect", "554 go away", fault.Unauthorized, "smtp.refused"},
		{"ehlo", cut, fault.Unavailable, "vendor.unreachable"},
		{"ehlo", "421 busy", fault.Throttled, "smtp.throttled"},
		{"ehlo", "451 not now", fault.Throttled, "smtp.throttled"},
		{"offer", "nothing", fault.Unauthorized, "smtp.no_tls"},
		{"starttls", cut, fault.Unavailable, "vendor.unreachable"},
		{"starttls", "454 not now", fault.Unavailable, "smtp.unavailable"},
		{"auth", cut, fault.Unavailable, "vendor.unreachable"},
		{"auth", "535 no", fault.Unauthorized, "smtp.unauthorized"},
		{"auth", "454 later", fault.Unavailable, "smtp.unavailable"},
		{"mail", cut, fault.Unavailable, "vendor.unreachable"},
		{"mail", "451 too many", fault.Throttled, "smtp.throttled"},
		{"mail", "550 not you", fault.Unauthorized, "smtp.sender"},
		{"rcpt", cut, fault.Unavailable, "vendor.unreachable"},
		{"rcpt", "450 grey", fault.Unavailable, name + "deferred"},
		{"rcpt", "421 closing", fault.Throttled, "smtp.throttled"},
		{"rcpt", "550 unknown", fault.Rejected, name + "refused"},
		{"rcpt", "552 full", fault.Rejected, name + "too_large"},
		{"data", cut, fault.Unavailable, "vendor.unreachable"},
		{"data", "452 storage", fault.Throttled, "smtp.throttled"},
		{"data", "554 no", fault.Rejected, name + "refused"},
		{"refuse", "451 try later", fault.Throttled, "smtp.throttled"},
		{"refuse", "421 closing", fault.Throttled, "smtp.throttled"},
		{"refuse", "554 spam", fault.Rejected, name + "refused"},
		{"refuse", "552 large", fault.Rejected, name + "too_large"},
		{"refuse", cut, fault.InDoubt, "vendor.no_answer"},
		{"dot", cut, fault.InDoubt, "vendor.no_answer"},
		{"dot", hang, fault.InDoubt, "vendor.no_answer"},
		{"dot", "299 odd but well", "", ""},
		{"dot", "399 odd", fault.InDoubt, "vendor.no_answer"},
		{"dot", "nonsense", fault.InDoubt, "vendor.no_answer"},
	} {
		t.Run(c.state+" "+c.answer, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			m := connect(t, s, func(c *connector.Config) { c.Limits.Timeout = time.Second })
			s.will(c.state, c.answer)
			f := sendOne(t, m, row("a"))
			stored := len(s.mails())
			if c.class == "" {
				require.Nil(t, f)
				require.Equal(t, 1, stored)
				return
			}
			require.NotNil(t, f)
			require.Equal(t, c.class, f.Class, f.Error())
			require.Equal(t, c.code, f.Code)
			if f.Class != fault.InDoubt {
				require.Zero(t, stored, "it was said to be not sent")
			}
			if f.Class == fault.Throttled {
				require.Positive(t, f.After)
			}
			for _, secret := range []string{"ann@", "s3cret", "geändert", s.address} {
				require.NotContains(t, f.Error(), secret)
			}
		})
	}
}

// A cut while the body is on its way may be seen before or behind the dot; either
// way the server has nothing, and must not be said to have.
func TestACutInTheBodyIsNeverConfirmed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, nil)
	s.will("body", cut)
	f := sendOne(t, m, row("a", "text", strings.Repeat("a long line of words\n", 5000)))
	require.NotNil(t, f)
	require.Contains(t, []fault.Class{fault.Unavailable, fault.InDoubt}, f.Class)
	require.Empty(t, s.mails())
}

func TestMailsShareASessionAndOneThatIsRefusedDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, nil)
	s.will("rcpt", "250 ok", "550 unknown", "250 ok", "250 ok")
	results, err := send(t.Context(), m, row("a"), row("b"), row("c", "recipient", "a@b>,<evil@x.example"), row("d"), row("e", "subject", "x\r\nBcc: all@example.com"), row("f"))
	require.NoError(t, err)
	var codes []string
	for _, r := range results {
		code := ""
		if r.Err != nil {
			code = fault.Of(r.Err).Code
		}
		codes = append(codes, code)
	}
	require.Equal(t, []string{"", "email.refused", "email.address", "", "email.header", ""}, codes)
	require.Len(t, s.mails(), 3)
	require.Equal(t, 1, s.opened(), "one session")
	require.Zero(t, s.count("RCPT TO:<evil"), "R02")

	require.Nil(t, sendOne(t, m, row("g")))
	require.Equal(t, 1, s.opened(), "and the next call uses it again")
}

func TestASessionThatTheServerEndedMeanwhileIsReplacedUnnoticed(t *testing.T) {
	t.Parallel()
	for _, end := range []string{cut, "421 idle"} {
		s := newServer(t)
		m := connect(t, s, nil)
		require.Nil(t, sendOne(t, m, row("a")))
		s.will("mail", end)
		require.Nil(t, sendOne(t, m, row("b")))
		require.Equal(t, 2, s.opened())
		require.Len(t, s.mails(), 2)
	}
}

func TestMailsBehindAFailureOfTheServerAreNotSent(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, nil)
	s.will("dot", "250 ok", cut)
	results, err := send(t.Context(), m, row("a"), row("b"), row("c"))
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	require.True(t, fault.Is(results[1].Err, fault.InDoubt))
	require.True(t, fault.Is(results[2].Err, fault.Unavailable))
	require.Equal(t, "smtp.not_sent", fault.Of(results[2].Err).Code)
	require.Len(t, s.mails(), 2)
}

func TestWhoMayNotSendAnyMoreSendsNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, nil)
	may := 1
	rows := []connector.Row{row("a"), row("b"), row("c")}
	results, err := m.Upsert(t.Context(), connector.Upsert{Table: "message", Key: []string{"id"}, Rows: rows, Held: func() error {
		if may--; may < 0 {
			return fault.New(fault.Unavailable, "worker.frozen", "too late", nil)
		}
		return nil
	}})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	require.Equal(t, "worker.frozen", fault.Of(results[1].Err).Code)
	require.True(t, fault.Is(results[2].Err, fault.Unavailable))
	require.Len(t, s.mails(), 1)
}

func TestAServerThatHasEnoughIsLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, func(c *connector.Config) { c.Speed = 1 })
	s.will("mail", "451 too many")
	require.Equal(t, fault.Throttled, sendOne(t, m, row("a")).Class)
	f := sendOne(t, m, row("a"))
	require.Equal(t, "connector.silent", f.Code)
	require.Greater(t, f.After, 10*time.Second)
	require.Equal(t, 1, s.opened())
}

func TestAWaitThatTheCallerEndsIsInDoubtOnlyBehindTheDot(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"mail", "dot"} {
		s := newServer(t)
		m := connect(t, s, nil)
		s.will(state, hang)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		results, err := send(ctx, m, row("a"))
		cancel()
		if state == "mail" {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			continue
		}
		require.NoError(t, err)
		require.True(t, fault.Is(results[0].Err, fault.InDoubt))
	}
}

func TestTLSIsFromTheFirstByteWhereTheURLSaysSo(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.mu.Lock()
	s.implicit, s.auth = true, "LOGIN"
	s.mu.Unlock()
	m := connect(t, s, nil)
	require.NoError(t, m.Probe(t.Context()))
	require.Nil(t, sendOne(t, m, row("a")))
	require.Zero(t, s.count("STARTTLS"))
	require.Positive(t, s.count("AUTH LOGIN"))
	require.Positive(t, s.count("czNjcmV0"), "the password")
}

func TestACertificateThatIsNotTrustedEndsIt(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, func(c *connector.Config) { delete(c.Options, "root_certificate") })
	f := sendOne(t, m, row("a"))
	require.Equal(t, "smtp.certificate", f.Code)
	require.Equal(t, fault.Unauthorized, f.Class)
	require.Zero(t, s.count("MAIL"))
	require.Zero(t, s.count("AUTH"), "no password for a stranger")
}

func TestWithoutTLSOnlyThisMachineIsReachedOrTheHostThatIsNamed(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, func(c *connector.Config) { c.Options["tls"] = "none" })
	require.Nil(t, sendOne(t, m, row("a")))
	require.Zero(t, s.count("STARTTLS"))
	for _, url := range []string{"smtp://mail.example.com:25", "smtps://127.0.0.1:465", "smtp://10.0.0.1"} {
		m := connect(t, s, func(c *connector.Config) { c.Options["tls"], c.URL = "none", url })
		require.Equal(t, "connector.option", sendOne(t, m, row("a")).Code, url)
	}
	for host, code := range map[string]string{"sandbox.invalid": "vendor.unreachable", "mail.example.com": "connector.option"} {
		m := connect(t, s, func(c *connector.Config) {
			c.Options["tls"], c.Options["plain_host"], c.URL = "none", "sandbox.invalid", "smtp://"+host+":25"
		})
		require.Equal(t, code, sendOne(t, m, row("a")).Code, "another URL does not go in the clear because one did")
	}
}

func TestAConnectionThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	good := func() connector.Config {
		return connector.Config{Name: "mail", URL: "smtp://mail.example.com", Options: map[string]string{"from": "a@example.com"}, Tables: map[string]connector.Table{"message": {}}}
	}
	for what, change := range map[string]func(*connector.Config){
		"no url":        func(c *connector.Config) { c.URL = "" },
		"no from":       func(c *connector.Config) { delete(c.Options, "from") },
		"a from of two": func(c *connector.Config) { c.Options["from"] = "a@example.com,b@example.com" },
		"a line break":  func(c *connector.Config) { c.Options["from_name"] = "x\r\ny" },
		"a domain":      func(c *connector.Config) { c.Options["domain"] = "x>y" },
		"a tls":         func(c *connector.Config) { c.Options["tls"] = "maybe" },
		"a host":        func(c *connector.Config) { c.Options["plain_host"] = "mail.example.com" },
		"an option":     func(c *connector.Config) { c.Options["form"] = "x" },
		"oauth2":        func(c *connector.Config) { c.Auth.Kind = "oauth2" },
	} {
		c := good()
		change(&c)
		_, err := smtp.New(c, connector.Deps{})
		require.True(t, fault.Is(err, fault.Invalid), what)
	}
	c := good()
	_, err := smtp.New(c, connector.Deps{})
	require.NoError(t, err)
	for _, url := range []string{"https://mail.example.com", "smtp://user:pw@mail.example.com", "smtp://", "smtp://x.example/path", "::"} {
		c.URL = url
		m, err := smtp.New(c, connector.Deps{})
		require.NoError(t, err)
		require.Equal(t, "connector.url", sendOne(t, m, row("a")).Code, url)
	}
}

func TestARowThatIsNoMailIsRejectedAloneAndNothingIsDialled(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	m := connect(t, s, nil)
	for want, r := range map[string]connector.Row{
		"email.address":   row("a", "recipient", "\"a b\"@example.com"),
		"email.header":    row("a", "subject", "x\ny"),
		"smtp.empty":      row("a", "text", "", "html", ""),
		"email.too_large": row("a", "text", strings.Repeat("x", 2<<20)),
		"smtp.column":     row("a", "bcc", "x@example.com"),
		"smtp.value":      {"id": "a", "recipient": "ann@example.com", "text": 5},
	} {
		f := sendOne(t, m, r)
		require.NotNil(t, f, want)
		require.Equal(t, want, f.Code)
		require.Equal(t, fault.Rejected, f.Class)
	}
	require.Equal(t, "email.header", sendOne(t, m, row("a>\r\nX: y")).Code)
	require.Zero(t, s.opened())
	f := sendOne(t, m, row("big", "text", strings.Repeat("x", 300<<10)))
	require.Equal(t, "email.too_large", f.Code, "the server says how large a mail may be")
}

func FuzzMail(f *testing.F) {
	f.Add("a", "ann@example.com", "Hello", "text", "")
	f.Add("a\r\nBcc: x", "a@b>,<evil@x", "x\r\nBcc: all@example.com", ".\r\n", "<p>")
	f.Add("a", "ann@example.com", "=?utf-8?q?=0D=0ABcc:_x@example.com?=", "\r\n.\r\nMAIL FROM:<x>", "\xff")
	f.Add("a", "ann@example.com", strings.Repeat("ü", 400), "x", "y")
	f.Fuzz(func(t *testing.T, id, recipient, subject, text, html string) {
		got, err := smtp.Compose(connector.Row{"id": id, "recipient": recipient, "subject": subject, "text": text, "html": html})
		if err != nil {
			if !fault.Is(err, fault.Rejected) {
				t.Fatalf("%v", err)
			}
			return
		}
		m, err := mail.ReadMessage(strings.NewReader(string(got)))
		if err != nil {
			t.Fatalf("no mail: %v\n%s", err, got)
		}
		to, err := m.Header.AddressList("To")
		if err != nil || len(to) != 1 || to[0].Address != recipient {
			t.Fatalf("another recipient: %v %v", to, err)
		}
		for name, values := range m.Header {
			known := []string{"Subject", "Message-Id", "To", "From", "Auto-Submitted", "Date", "Mime-Version", "Content-Type", "Content-Transfer-Encoding"}
			if len(values) != 1 || !strings.Contains(strings.Join(known, " ")+" ", name+" ") {
				t.Fatalf("a header that nobody wrote: %s %q", name, values)
			}
		}
		if m.Header.Get("Message-Id") != fmt.Sprintf("<%s@example.com>", id) {
			t.Fatalf("another id: %q", m.Header.Get("Message-Id"))
		}
	})
}
