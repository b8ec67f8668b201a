package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"patchbay/internal/alert"
	"patchbay/internal/connector"
	"patchbay/internal/fault"
	"patchbay/internal/flow"
	"patchbay/internal/message"
	"patchbay/internal/sandbox"
)

// drop is the sandbox's mail server: it shares no code with the connector, so what
// both believe of the protocol is true of it.
type drop struct {
	t        *testing.T
	url, at  string
	root     string
	sessions connector.Upserter
}

func newDrop(t *testing.T, options map[string]string) *drop {
	t.Helper()
	s, err := sandbox.New(t.Context(), sandbox.Options{Lean: true, Products: 10})
	require.NoError(t, err)
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Mail(ctx, ln) }()
	server := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		server.Close()
		cancel()
		require.NoError(t, <-done)
		s.Close()
	})
	d := &drop{t: t, url: server.URL, at: ln.Addr().String(), root: filepath.Join(t.TempDir(), "root.pem")}
	require.NoError(t, os.WriteFile(d.root, d.do(http.MethodGet, "/_sandbox/mail/certificate", ""), 0o600))
	if options == nil {
		options = map[string]string{"root_certificate": d.root}
	}
	options["from"] = "service@example.com"
	system, err := registry().Build(connector.Config{
		Name: "mail", System: "smtp", URL: "smtp://" + d.at, Options: options, Limits: connector.Limits{Timeout: 2 * time.Second}, Speed: 10_000,
		Auth:   connector.Auth{Kind: "basic", Username: "patchbay", Password: "sandbox-secret"},
		Tables: map[string]connector.Table{"message": {Keys: [][]string{{"id"}}}},
	}, connector.Deps{})
	require.NoError(t, err)
	d.sessions = system.(connector.Upserter)
	return d
}

func (d *drop) do(method, path, body string) []byte {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, strings.NewReader(body))
	require.NoError(d.t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(d.t, err)
	require.Less(d.t, res.StatusCode, 300, string(answer))
	return answer
}

// stored is how often the drop has each mail, by Message-ID.
func (d *drop) stored() map[string]int {
	d.t.Helper()
	var list []struct{ ID string }
	require.NoError(d.t, json.Unmarshal(d.do(http.MethodGet, "/_sandbox/mail", ""), &list))
	count := map[string]int{}
	for _, m := range list {
		count[m.ID]++
	}
	return count
}

func (d *drop) send(ids ...string) []connector.Result {
	rows := make([]connector.Row, len(ids))
	for i, id := range ids {
		rows[i] = connector.Row{"id": id, "recipient": id + "@example.com", "subject": "Größe", "text": "a\n.\nb", "html": "<p>a</p>"}
	}
	results, err := d.sessions.Upsert(d.t.Context(), connector.Upsert{Table: "message", Key: []string{"id"}, Rows: rows})
	if err != nil {
		results = make([]connector.Result, len(rows))
		for i := range results {
			results[i].Err = err
		}
	}
	return results
}

// agree requires that what the connector says of a mail is what the drop knows.
func (d *drop) agree(ids []string, results []connector.Result, before map[string]int) (doubts int) {
	d.t.Helper()
	after := d.stored()
	for i, id := range ids {
		key := "<" + id + "@example.com>"
		took := after[key] - before[key]
		switch f := fault.Of(results[i].Err); {
		case f == nil:
			require.Equal(d.t, 1, took, "%s was confirmed", id)
		case f.Class == fault.InDoubt:
			doubts++
			require.LessOrEqual(d.t, took, 1, id)
		default:
			require.Zero(d.t, took, "%s was said not to be sent: %v", id, f)
		}
	}
	return doubts
}

func TestWhatTheConnectorSaysOfAMailIsWhatTheServerKnows(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot", "quit"} {
		for _, how := range []string{`"cut":true`, `"status":421`, `"status":451`, `"status":452`, `"status":550`} {
			if state == "body" && how != `"cut":true` {
				continue
			}
			t.Run(state+" "+how, func(t *testing.T) {
				t.Parallel()
				d := newDrop(t, nil)
				d.do(http.MethodPut, "/_sandbox/faults/mail", fmt.Sprintf(`{"state":%q,%s,"count":1}`, state, how))
				ids := []string{"one", "two", "three"}
				doubts := d.agree(ids, d.send(ids...), nil)
				if state == "dot" && how == `"cut":true` {
					require.Equal(t, 1, doubts)
					require.Equal(t, map[string]int{"<one@example.com>": 1}, d.stored(), "those behind a doubt wait")
				} else if state != "body" {
					require.Zero(t, doubts, "only a session that ends behind the final dot is in doubt")
				}
			})
		}
	}
}

// A storm of faults at every state, mails sent until they are confirmed, refused or
// in doubt: none is lost, and none is twice there that nobody doubted.
func TestInAStormOfFaultsNoMailIsLostAndEachRepetitionWasInDoubt(t *testing.T) {
	t.Parallel()
	d := newDrop(t, nil)
	var rules []string
	for _, state := range []string{"connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot"} {
		rules = append(rules, fmt.Sprintf(`{"state":%q,"cut":true,"rate":0.03}`, state))
		if state != "body" {
			rules = append(rules, fmt.Sprintf(`{"state":%q,"status":451,"rate":0.03}`, state))
		}
	}
	d.do(http.MethodPut, "/_sandbox/faults/mail", "["+strings.Join(rules, ",")+"]")
	var mu sync.Mutex
	doubted := map[string]int{}
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 40 {
				id := fmt.Sprintf("m-%d-%d", w, i)
				for try := 0; ; try++ {
					f := fault.Of(d.send(id)[0].Err)
					if f == nil {
						break
					}
					if f.Class == fault.InDoubt {
						mu.Lock()
						doubted[id]++
						mu.Unlock()
					}
					if try > 200 || f.Class == fault.Rejected || f.Class == fault.Unauthorized {
						t.Errorf("%s: %v", id, f)
						break
					}
					select {
					case <-time.After(min(f.After, 20*time.Millisecond)):
					case <-t.Context().Done():
						return
					}
				}
			}
		})
	}
	all.Wait()
	for id, n := range d.stored() {
		name := strings.TrimSuffix(strings.TrimPrefix(id, "<"), "@example.com>")
		require.LessOrEqual(t, n, 1+doubted[name], id)
	}
	require.Len(t, d.stored(), 160)
	require.NotEmpty(t, doubted, "the storm was one")
}

func TestTheProviderLimitIsHeardAsThrottling(t *testing.T) {
	t.Parallel()
	d := newDrop(t, nil)
	d.do(http.MethodPut, "/_sandbox/mail/limit", `{"per_minute":1}`)
	results := d.send("one", "two")
	require.NoError(t, results[0].Err)
	require.True(t, fault.Is(results[1].Err, fault.Throttled), "%v", results[1].Err)
	d.agree([]string{"one", "two"}, results, nil)
}

func TestARenderedMessageArrivesAsItWasMeant(t *testing.T) {
	t.Parallel()
	d := newDrop(t, map[string]string{"tls": "none", "domain": "mail.example.com"})
	template, problems := message.Compile(flow.Send{Subject: "Fall {{.Key}}: {{.Row.title}}", HTML: `<p>{{.Row.title}} &amp; {{was . "status"}} → {{.Row.status}}</p>`})
	require.Empty(t, problems)
	row, err := template.Render(message.Data{Window: "w", Recipient: "ann@example.com", Items: message.Changes([]flow.NetChange{{
		Key: "C-1", Row: flow.Row{"title": "Größe <b>", "status": json.Number("5")}, Was: flow.Row{"status": json.Number("1")}}})})
	require.NoError(t, err)
	results, err := d.sessions.Upsert(t.Context(), connector.Upsert{Table: "message", Key: []string{"id"}, Rows: []connector.Row{row}})
	require.NoError(t, err)
	require.NoError(t, results[0].Err)
	var list []map[string]any
	require.NoError(t, json.Unmarshal(d.do(http.MethodGet, "/_sandbox/mail?to=ann@example.com", ""), &list))
	require.Len(t, list, 1)
	sum := sha256.Sum256([]byte("w\nann@example.com"))
	require.Equal(t, "<"+hex.EncodeToString(sum[:])+"@mail.example.com>", list[0]["id"])
	require.Equal(t, "Fall C-1: Größe <b>", list[0]["subject"])
	require.Equal(t, "<p>Größe &lt;b&gt; &amp; 1 → 5</p>", list[0]["html"])
	require.Equal(t, "Größe <b> & 1 → 5", strings.TrimSpace(list[0]["text"].(string)))
}

// known is a connection that no run is bound to.
type known flow.Connection

func (k known) Connection(context.Context, string) (flow.Connection, error) {
	return flow.Connection(k), nil
}

func TestAnAlertThatIsSentTwiceHasOneMessageID(t *testing.T) {
	t.Parallel()
	d := newDrop(t, nil)
	c := flow.Connection{Name: "mail", System: "smtp", URL: "smtp://" + d.at, Options: map[string]string{"from": "service@example.com", "root_certificate": d.root},
		Auth: flow.Auth{Kind: "basic", Username: "patchbay", Password: "sandbox-secret"}, Tables: map[string]flow.Table{"message": {Name: "message", Keys: [][]string{{"id"}}}}}
	plain := func(s string) (string, error) { return s, nil }
	m := mailer{newSystems(known(c), nil, registry(), plain, 1), flow.AlertMail{Connection: "mail", To: []string{"ops@example.com", "boss@example.com"}}}
	msg := alert.Message{ID: "alert-7-1-mail", Subject: "cases:\r\nBcc: eve@example.com", Text: "Events are rejected."}
	for range 2 {
		require.NoError(t, m.Send(t.Context(), msg))
	}
	require.Equal(t, map[string]int{"<alert-7-1-mail-1@example.com>": 2, "<alert-7-1-mail-2@example.com>": 2}, d.stored())
}
