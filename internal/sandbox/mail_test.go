package sandbox_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"patchbay/internal/sandbox"
)

// post is a sandbox whose mail server listens.
type post struct {
	*bundle
	at string
}

func newPost(t *testing.T, opts sandbox.Options) *post {
	t.Helper()
	opts.Products = products
	s, err := sandbox.New(t.Context(), opts)
	require.NoError(t, err)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Mail(ctx, ln) }()
	server := httptest.NewServer(s.Handler())
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		cancel()
		require.NoError(t, <-done)
		s.Close()
	})
	return &post{&bundle{t: t, url: server.URL, http: &http.Client{Transport: transport}}, ln.Addr().String()}
}

// say sends commands in a session of its own and gives the code of each answer; 0
// is none. A command that begins with a blank is data, without an answer.
func (p *post) say(commands ...string) []int {
	p.t.Helper()
	conn, err := textproto.Dial("tcp", p.at)
	require.NoError(p.t, err)
	defer conn.Close()
	code, _, _ := conn.ReadResponse(0)
	codes := []int{code}
	for _, c := range commands {
		if strings.HasPrefix(c, " ") {
			_, _ = conn.W.WriteString(c[1:])
			continue
		}
		if conn.PrintfLine("%s", c) != nil {
			return append(codes, 0)
		}
		code, _, _ := conn.ReadResponse(0)
		codes = append(codes, code)
		if code == 0 {
			return codes
		}
	}
	return codes
}

func letter(to, subject string) []string {
	return []string{"EHLO test", "MAIL FROM:<service@example.com> BODY=8BITMIME", "RCPT TO:<" + to + ">", "DATA",
		" Message-ID: <1@example.com>\r\nSubject: " + subject + "\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n..dot\r\n", "."}
}

var wellTaken = []int{220, 250, 250, 250, 354, 250}

type received struct {
	N             int
	ID, From      string
	To            []string
	Subject, Text string
	HTML          string
}

func (p *post) mails(query string) []received {
	p.t.Helper()
	r := p.do(http.MethodGet, "/_sandbox/mail"+query, "")
	require.Equal(p.t, http.StatusOK, r.status)
	list := []received{}
	require.NoError(p.t, json.Unmarshal(r.body, &list))
	return list
}

func eachPost(t *testing.T, test func(t *testing.T, p *post)) {
	t.Helper()
	t.Run("on PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, newPost(t, sandbox.Options{DatabaseURL: filled.Copy(t)}))
	})
	t.Run("lean", func(t *testing.T) {
		t.Parallel()
		test(t, newPost(t, sandbox.Options{Lean: true}))
	})
}

func TestAMailIsShownAsItWasSent(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		require.Equal(t, wellTaken, p.say(letter("ann@example.com", "=?utf-8?q?Gr=C3=B6=C3=9Fe?=")...))
		require.Equal(t, wellTaken, p.say(letter("bob@example.com", "two")...))
		all := p.mails("")
		require.Len(t, all, 2)
		require.Equal(t, received{N: 1, ID: "<1@example.com>", From: "service@example.com", To: []string{"ann@example.com"}, Subject: "Größe", Text: "Hello\n.dot"}, all[0])
		require.Equal(t, all[1:], p.mails("?since=1"))
		require.Equal(t, all[:1], p.mails("?to=ann@example.com"))
		page := p.page("/_sandbox/mail", "Accept", "text/html")
		require.Contains(t, page, "Größe")
		require.Contains(t, p.page("/_sandbox/mail/2"), "<pre>Hello\n.dot</pre>")
		require.Contains(t, p.page("/_sandbox/"), "smtp://"+p.at)
		require.Equal(t, http.StatusNotFound, p.do(http.MethodGet, "/_sandbox/mail/3", "").status)

		require.Equal(t, http.StatusNoContent, p.do(http.MethodPost, "/_sandbox/reset", "").status)
		require.Empty(t, p.mails(""))
		require.Equal(t, wellTaken, p.say(letter("ann@example.com", "anew")...))
		require.Equal(t, 1, p.mails("")[0].N)
	})
}

func TestTheHTMLOfAMailIsShownInAFrameThatMayDoNothing(t *testing.T) {
	t.Parallel()
	p := newPost(t, sandbox.Options{Lean: true})
	mail := letter("ann@example.com", "<script>x</script>")
	mail[4] = " Subject: <b>\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0PiI+PGI+\r\n"
	require.Equal(t, wellTaken, p.say(mail...))
	require.Equal(t, `<script>alert(1)</script>"><b>`, p.mails("")[0].HTML)
	r := p.do(http.MethodGet, "/_sandbox/mail/1", "")
	require.Contains(t, r.header.Get("Content-Security-Policy"), "default-src 'none'")
	require.NotContains(t, string(r.body), "<script>")
	require.Contains(t, string(r.body), "<iframe sandbox ")
}

func TestTheMailServerSpeaksItsProtocol(t *testing.T) {
	t.Parallel()
	p := newPost(t, sandbox.Options{Lean: true})
	for name, c := range map[string]struct {
		say  []string
		want []int
	}{
		"nothing before EHLO":       {[]string{"MAIL FROM:<a@example.com>", "NOOP", "QUIT"}, []int{220, 503, 250, 221}},
		"no RCPT before MAIL":       {[]string{"EHLO x", "RCPT TO:<a@example.com>", "DATA"}, []int{220, 250, 503, 503}},
		"no DATA without recipient": {[]string{"EHLO x", "MAIL FROM:<a@example.com>", "DATA"}, []int{220, 250, 250, 503}},
		"an odd address":            {[]string{"EHLO x", "MAIL FROM:<a@example.com>", "RCPT TO:a@example.com", "RCPT TO:<a@b>,<c@d>", "RCPT TO:<>"}, []int{220, 250, 250, 553, 553, 553}},
		"an odd parameter":          {[]string{"EHLO x", "MAIL FROM:<a@example.com> FOO=1", "MAIL FROM:<a@example.com> SIZE=99999999"}, []int{220, 250, 555, 552}},
		"RSET forgets":              {[]string{"EHLO x", "MAIL FROM:<a@example.com>", "RSET", "RCPT TO:<a@example.com>"}, []int{220, 250, 250, 250, 503}},
		"PLAIN":                     {[]string{"EHLO x", "AUTH PLAIN AHBhdGNoYmF5AHNhbmRib3gtc2VjcmV0"}, []int{220, 250, 235}},
		"LOGIN":                     {[]string{"EHLO x", "AUTH LOGIN", "cGF0Y2hiYXk=", "c2FuZGJveC1zZWNyZXQ="}, []int{220, 250, 334, 334, 235}},
		"a wrong password":          {[]string{"EHLO x", "AUTH PLAIN AHBhdGNoYmF5AHdyb25n"}, []int{220, 250, 535}},
		"no base64":                 {[]string{"EHLO x", "AUTH PLAIN *", "NOOP"}, []int{220, 250, 501, 250}},
		"no such command":           {[]string{"EHLO x", "EXPN list", "HELO"}, []int{220, 250, 500, 250}},
		"a line that is too long":   {[]string{"EHLO " + strings.Repeat("x", 2000)}, []int{220, 500}},
		"empty":                     {[]string{"", "EHLO"}, []int{220, 500, 501}},
	} {
		require.Equal(t, c.want, p.say(c.say...), name)
	}
	require.Empty(t, p.mails(""))
}

func TestAFaultOfEachStateStrikesThere(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		fault := func(rule string) {
			t.Helper()
			r := p.do(http.MethodPut, "/_sandbox/faults/mail", rule)
			require.Equal(t, http.StatusOK, r.status, string(r.body))
		}
		for _, c := range []struct {
			rule string
			want []int // of the session it strikes
			kept int
		}{
			{`{"state":"connect","cut":true,"count":1}`, []int{0, 0}, 0},
			{`{"state":"connect","status":421,"count":1}`, []int{421, 0}, 0},
			{`{"state":"ehlo","status":421,"count":1}`, []int{220, 421, 0}, 0},
			{`{"state":"mail","status":451,"count":1}`, []int{220, 250, 451, 503, 503, 500}, 0},
			{`{"state":"rcpt","status":550,"count":1,"match":"ann@"}`, []int{220, 250, 250, 550, 503, 500}, 0},
			{`{"state":"rcpt","cut":true,"count":1}`, []int{220, 250, 250, 0}, 0},
			{`{"state":"data","status":452,"count":1}`, []int{220, 250, 250, 250, 452, 500}, 0},
			{`{"state":"data","cut":true,"count":1}`, []int{220, 250, 250, 250, 0}, 0},
			{`{"state":"body","cut":true,"count":1}`, []int{220, 250, 250, 250, 354, 0}, 0},
			{`{"state":"dot","status":451,"count":1}`, []int{220, 250, 250, 250, 354, 451}, 0},
			{`{"state":"dot","cut":true,"count":1}`, []int{220, 250, 250, 250, 354, 0}, 1},
			{`{"state":"dot","latency_ms":5,"count":1}`, wellTaken, 1},
		} {
			before := len(p.mails(""))
			fault(c.rule)
			got := p.say(letter("ann@example.com", "x")...)
			// After a refusal the rest of the letter makes no sense to the server.
			n := min(len(got), len(c.want))
			for i, code := range c.want {
				if code >= 400 && code < 500 || code == 0 || code == 550 {
					n = min(n, i+1)
				}
			}
			require.Equal(t, c.want[:n], got[:n], c.rule)
			require.Len(t, p.mails(""), before+c.kept, c.rule)
			if c.kept == 0 {
				require.Equal(t, wellTaken, p.say(letter("ann@example.com", "x")...), "it strikes once")
			}
		}
		require.Contains(t, string(p.do(http.MethodGet, "/_sandbox/faults/mail", "").body), `"struck": 1`)
		require.Equal(t, http.StatusNoContent, p.do(http.MethodDelete, "/_sandbox/faults/mail", "").status)
	})
}

func TestFaultsOfMailThatMakeNoSenseAreRefusedInWords(t *testing.T) {
	t.Parallel()
	p := newPost(t, sandbox.Options{Lean: true})
	for rule, status := range map[string]int{
		`{"state":"rcpt"}`:                         http.StatusUnprocessableEntity,
		`{"state":"nowhere","cut":true}`:           http.StatusUnprocessableEntity,
		`{"state":"rcpt","status":200}`:            http.StatusUnprocessableEntity,
		`{"state":"body","status":451}`:            http.StatusUnprocessableEntity,
		`{"state":"dot","status":451,"cut":true}`:  http.StatusUnprocessableEntity,
		`{"state":"dot","cut":true,"rate":2}`:      http.StatusUnprocessableEntity,
		`{"state":"dot","drop_after_commit":true}`: http.StatusBadRequest,
		`nonsense`: http.StatusBadRequest,
		`[]`:       http.StatusBadRequest,
		`[{"state":"dot","cut":true},{"state":""}]`: http.StatusUnprocessableEntity,
	} {
		require.Equal(t, status, p.do(http.MethodPut, "/_sandbox/faults/mail", rule).status, rule)
	}
	require.Equal(t, http.StatusBadRequest, p.do(http.MethodPut, "/_sandbox/mail/limit", `{}`).status)
}

func TestAMailBeyondTheLimitOfAMinuteIsAViolationInTheRecord(t *testing.T) {
	t.Parallel()
	p := newPost(t, sandbox.Options{DatabaseURL: filled.Copy(t)})
	require.Equal(t, http.StatusOK, p.do(http.MethodPut, "/_sandbox/mail/limit", `{"per_minute":2}`).status)
	for _, want := range []int{250, 250, 451} {
		codes := p.say(letter("ann@example.com", "x")...)
		require.Equal(t, want, codes[len(codes)-1])
	}
	require.Len(t, p.mails(""), 2)
	var calls []struct {
		Path, Fault string
		Status      int
	}
	require.NoError(t, json.Unmarshal(p.do(http.MethodGet, "/_sandbox/calls/mail", "").body, &calls))
	require.Len(t, calls, 3)
	require.Equal(t, "limit", calls[2].Fault)
	require.Equal(t, 451, calls[2].Status)
	require.Equal(t, "/message", calls[0].Path)
	require.Contains(t, string(p.do(http.MethodGet, "/_sandbox/counts", "").body), `"message": 2`)
}
